//! The command line: parse, dispatch, nothing else.
#![allow(clippy::print_stdout)]
fn main() {
    for (_, c) in secretref::api::crds().unwrap_or_default() {
        println!("---\n{}", secretref::api::to_yaml(&c).unwrap_or_default());
    }
}

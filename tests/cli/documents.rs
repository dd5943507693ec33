//! What is written in the documentation is what happens.

use crate::laptop::{Laptop, said};

/// The script after a marker, and the text block after it: what it prints.
fn documented(marker: &str) -> (&'static str, &'static str) {
    let document = include_str!("../../docs/local-development.md");
    let (_, after) = document.split_once(&format!("<!-- tests: {marker} -->\n```sh\n")).expect("no such marker");
    let (script, after) = after.split_once("```\n").unwrap();
    let (_, after) = after.split_once("```text\n").unwrap();
    (script, after.split_once("```").unwrap().0)
}

/// From an empty folder to the value that production would get.
#[test]
fn the_two_minute_path() {
    let laptop = Laptop::new();
    let (script, printed) = documented("two minutes");
    let said = said(laptop.command("sh", &["-e", "-c", script]).output().unwrap());
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.out, printed, "{}", said.err);
}

/// The example programs, built with the tests and run as they are.
#[test]
fn the_examples_run() {
    let folder = std::path::Path::new(crate::laptop::BINARY).with_file_name("examples");
    assert!(folder.join("get_config").exists(), "the examples are not built: cargo build --examples");
    let laptop = Laptop::new().set("ACME__DB_PASSWORD", "canary-example");
    laptop.reference(&["{ key: DB_PASSWORD, secretRef: { name: db-password } }", "{ key: TIMEOUT, value: \"30\" }"]);
    let program = folder.join("get_config");
    let said = said(laptop.command(program.to_str().unwrap(), &["app.yaml"]).output().unwrap());
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.out, "DB_PASSWORD: 14 bytes, a secret\nTIMEOUT: 30\nthe second time from memory\n", "{said:?}");
    assert!(said.err.contains("notice") && !said.err.contains("canary"), "{said:?}");
}

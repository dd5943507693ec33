//! The command line: parse, dispatch, nothing else.

use std::{alloc::System, process::ExitCode};

use clap::Parser;
use zeroizing_alloc::ZeroAlloc;

/// Values pass through buffers that are not ours to wipe (TLS, HTTP, JSON): no memory is given back with what it held.
#[global_allocator]
static WIPED: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    secretref::cli::Cli::parse().run()
}

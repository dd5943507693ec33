//! `make bench`: what the command line and the library take, each beside something well known in the same run.
//!
//! `scan` beside `grep`, a `get_config` from memory beside one that asks the store, on a tree and on a store that are made for
//! it. Every figure is the median of several runs; what counts is the ratio.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use secretref::{
    config::{Config, Environment},
    naming::Org,
    resolver::{Configuration, Options, Resolver},
};

/// Secrets that are looked for.
const SECRETS: usize = 50;
/// Files of the tree, and how large each is.
const FILES: usize = 4_000;
const FILE: usize = 64 << 10;
const RUNS: usize = 5;

fn main() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-laptop");
    let _ = std::fs::remove_dir_all(&folder);
    make(&folder);
    scan(&folder);
    again(&folder);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A reference, its local values, and a tree of logs without any of them.
fn make(folder: &Path) {
    std::fs::create_dir_all(folder.join("tree")).unwrap();
    let mut reference = "apiVersion: secretref.dev/v1alpha1\nkind: SecretReference\nmetadata: { name: app }\n\
                         spec:\n  storeRef: { name: platform }\n  data:\n"
        .to_owned();
    let (mut values, mut patterns) = (String::new(), String::new());
    for n in 0..SECRETS {
        let value = format!("canary-{:016x}", mixed(n as u64));
        writeln!(reference, "    - {{ key: KEY_{n}, secretRef: {{ name: key-{n} }} }}").unwrap();
        writeln!(values, "ACME__KEY_{n}={value}").unwrap();
        writeln!(patterns, "{value}").unwrap();
    }
    std::fs::write(folder.join("app.yaml"), reference).unwrap();
    std::fs::write(folder.join(".env"), values).unwrap();
    std::fs::write(folder.join("patterns"), patterns).unwrap();
    for n in 0..FILES {
        let mut text = String::with_capacity(FILE + 100);
        while text.len() < FILE {
            let line = mixed((n * FILE + text.len()) as u64);
            writeln!(text, "2026-01-01T00:00:00Z INFO request {line:016x} took {} ms, user=acme", line % 1000).unwrap();
        }
        std::fs::write(folder.join(format!("tree/{n}.log")), text).unwrap();
    }
}

/// Text that does not repeat, the same in every run.
fn mixed(n: u64) -> u64 {
    let mut x = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The whole command beside `grep` for the plain form alone, which finds less.
fn scan(folder: &Path) {
    let ours = || {
        let args = ["scan", "--org", "acme", "-f", "app.yaml", "tree"];
        let ended = Command::new(env!("CARGO_BIN_EXE_secretref"))
            .args(args)
            .current_dir(folder)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(ended.code(), Some(0), "nothing is to be found");
    };
    let grep = || {
        let args = ["-rFq", "-f", "patterns", "tree"];
        let ended = Command::new("grep").args(args).env("LC_ALL", "C").current_dir(folder).status().unwrap();
        assert_eq!(ended.code(), Some(1), "nothing is to be found");
    };
    ours();
    let (ours, grep) = (median(ours), median(grep));
    let size = (FILES * FILE) >> 20;
    let rate = size as f64 / ours.as_secs_f64();
    println!("scan: {size} MiB in {FILES} files for {SECRETS} secrets in all forms: {ours:.1?} ({rate:.0} MiB/s)");
    let ratio = grep.as_secs_f64() / ours.as_secs_f64();
    println!("      grep -rF, the plain form only: {grep:.1?}: scan is {ratio:.1} times as fast");
}

/// `get_config` from memory, beside the first one, which logs in at a real OpenBao and asks it.
fn again(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let of = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("no {name}: make bench starts an OpenBao"));
    let variables =
        [("VAULT_ADDR", of("BAO_ADDR")), ("VAULT_CACERT", of("BAO_CACERT")), ("VAULT_TOKEN", of("BAO_TOKEN"))];
    let environment: Environment = variables.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
    let org = Org::new("acme").unwrap();
    let resolver = || {
        let config = Config::load(None, folder, &environment).unwrap();
        let mut options = Options::new(&environment);
        options.local = false;
        let configuration = Configuration::read(&folder.join("app.yaml")).unwrap();
        Resolver::new(config, &environment, configuration, options)
    };
    let get = |resolver: &Resolver| {
        let began = Instant::now();
        runtime.block_on(resolver.get_config(&org, "KEY_0")).unwrap();
        began.elapsed()
    };
    let mut firsts: Vec<Duration> = (0..RUNS).map(|_| get(&resolver())).collect();
    firsts.sort();
    let (first, resolver) = (firsts[RUNS / 2], resolver());
    get(&resolver);
    let mut times: Vec<Duration> = (0..1000).map(|_| get(&resolver)).collect();
    times.sort();
    let (p50, p99) = (times[500], times[990]);
    let ratio = first.as_secs_f64() / p99.as_secs_f64();
    println!("get_config: the first, from OpenBao over TLS: {first:.1?}; from memory p50 {p50:.1?}, p99 {p99:.1?}");
    println!("      the first takes {ratio:.0} times as long as the slowest hundredth from memory");
}

fn median(run: impl Fn()) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[RUNS / 2]
}

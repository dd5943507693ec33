//! `secretref run`: a real program in the place of the command line.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
};

use serde_json::json;

use crate::{
    harness::Bao,
    laptop::{BINARY, Laptop},
};

const ENTRIES: [&str; 2] =
    ["{ key: DB_PASSWORD, secretRef: { name: db-password } }", "{ key: TIMEOUT, value: \"30\" }"];

fn laptop() -> Laptop {
    let laptop = Laptop::new().set("ACME__DB_PASSWORD", "canary-run");
    laptop.reference(&ENTRIES);
    laptop
}

fn args<'a>(command: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--org", "acme", "-f", "app.yaml", "--"], command].concat()
}

fn start(laptop: &Laptop, command: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    // Where tests run in the background, Ctrl-C is ignored, and a shell cannot trap what was ignored when it began.
    let begin = [&["--default-signal=INT,TERM", BINARY], &args(command)[..]].concat();
    let mut child =
        laptop.command("/usr/bin/env", &begin).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn signal(name: &str, child: &Child) {
    assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn the_command_has_the_entries_and_the_rest_of_the_environment() {
    let laptop = laptop().set("KEPT", "yes");
    let out = laptop.secretref(&args(&["sh", "-c", "echo $DB_PASSWORD $TIMEOUT $KEPT \"$1\"", "sh", "an argument"]));
    assert_eq!(out, "canary-run 30 yes an argument\n");
}

#[test]
fn exit_codes_and_signals_are_the_commands_own() {
    let laptop = laptop();
    assert_eq!(laptop.try_secretref(&args(&["sh", "-c", "exit 42"])).code, Some(42));
    assert!(laptop.fails(127, &args(&["no-such-command"])).contains("no-such-command cannot be started"));
    laptop.write("not-executable", "x");
    laptop.fails(126, &args(&["./not-executable"]));
    // Ctrl-C reaches the program itself, which may handle it.
    let (mut child, mut out) =
        start(&laptop, &["sh", "-c", "trap 'echo caught; exit 7' INT; echo ready; while :; do sleep 0.05; done"]);
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    signal("INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(7));
    out.read_to_string(&mut line).unwrap();
    assert_eq!(line, "ready\ncaught\n");
    // And what does not handle it ends by it.
    let (mut child, _out) = start(&laptop, &["sleep", "600"]);
    wait_until_it_is("sleep", &child);
    signal("TERM", &child);
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

#[test]
fn a_program_that_forks_hands_the_environment_on() {
    let laptop = laptop();
    let out = laptop.secretref(&args(&["sh", "-c", "(sleep 0.1; sh -c 'echo $DB_PASSWORD') & wait"]));
    assert_eq!(out, "canary-run\n");
}

/// No process stays behind that holds the values, nothing is in a command line or on disk.
#[tokio::test]
async fn values_are_nowhere_but_in_the_commands_environment() {
    let bao = Bao::new().await;
    bao.put("acme--db-password", json!({ "value": "canary-from-the-store" })).await;
    let laptop = Laptop::with(&bao).await;
    laptop.reference(&ENTRIES);
    let (mut child, _out) = start(&laptop, &["sleep", "600"]);
    wait_until_it_is("sleep", &child);
    let proc = format!("/proc/{}", child.id());
    let environment = std::fs::read(format!("{proc}/environ")).unwrap();
    assert!(String::from_utf8_lossy(&environment).contains("DB_PASSWORD=canary-from-the-store"));
    let parent = std::fs::read_to_string(format!("{proc}/stat")).unwrap();
    let parent = parent.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().to_owned();
    assert_eq!(parent, std::process::id().to_string(), "a process in between");
    let ps = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&ps.stdout).contains("canary-from-the-store"));
    let grep = laptop.command("grep", &["-rl", "canary-from-the-store", "."]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&grep.stdout), "", "on disk");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The shell that a developer types into: its history has the commands, and neither it nor its memory has a value.
#[tokio::test]
async fn the_shell_keeps_no_value() {
    let bao = Bao::new().await;
    bao.put("acme--db-password", json!({ "value": "canary-from-the-store" })).await;
    let laptop = Laptop::with(&bao).await.set("HISTFILE", "history");
    laptop.reference(&ENTRIES);
    let typed = "set -o history\n\
        secretref run --org acme -f app.yaml -- sh -c 'test \"$DB_PASSWORD\" = canary-from-\"the-store\" && touch seen'\n\
        secretref get DB_PASSWORD --org acme -f app.yaml | wc -c\n\
        secretref render --org acme -f app.yaml\n\
        set > variables; tr '\\0' '\\n' < /proc/$$/environ > environ\nexit\n";
    laptop.write("typed", typed);
    let mut shell = laptop.command("bash", &["--norc", "-i"]);
    let typed = std::fs::File::open(laptop.folder.join("typed")).unwrap();
    assert!(shell.stdin(typed).output().unwrap().status.success());
    assert!(laptop.folder.join("seen").exists(), "the command had it");
    let history = laptop.read("history");
    assert_eq!(history.matches("secretref ").count(), 3, "{history}");
    let grep = laptop.command("grep", &["-rl", "canary-from-the-store", "."]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&grep.stdout), "", "history, variables, environment of the shell");
    assert!(laptop.read("variables").contains("HISTFILE=history") && laptop.read("environ").contains("VAULT_ADDR="));
}

#[test]
fn a_missing_entry_stops_it_before_it_starts() {
    let laptop = Laptop::new();
    laptop.reference(&[ENTRIES[0], ENTRIES[1], "{ key: O, secretRef: { name: o, optional: true } }"]);
    let told = laptop.fails(1, &args(&["touch", "started"]));
    assert!(told.contains("SecretNotFound: DB_PASSWORD:") && told.contains("no store is configured"), "{told}");
    assert!(!laptop.folder.join("started").exists());
    // What is optional does not.
    let laptop = laptop.set("ACME__DB_PASSWORD", "canary-run");
    assert_eq!(laptop.secretref(&args(&["sh", "-c", "echo ${O-unset}"])), "unset\n");
    laptop.fails(2, &["run", "--org", "acme", "-f", "app.yaml"]);
}

#[test]
fn later_files_win_and_what_no_variable_can_hold_is_told() {
    let laptop = laptop().set("ACME__BLOB", "AP8=");
    laptop.write("more.yaml", "TIMEOUT: 31\n");
    let both =
        ["run", "--org", "acme", "-f", "app.yaml", "-f", "more.yaml", "--", "sh", "-c", "echo $TIMEOUT $DB_PASSWORD"];
    assert_eq!(laptop.secretref(&both), "31 canary-run\n");
    laptop.reference(&["{ key: BLOB, secretRef: { name: blob, decode: Base64 } }"]);
    assert!(laptop.fails(1, &args(&["true"])).contains("BLOB: the value is not text"));
}

/// A program has its name before the kernel has given it its environment.
fn wait_until_it_is(name: &str, child: &Child) {
    let of = |what: &str| std::fs::read(format!("/proc/{}/{what}", child.id())).unwrap_or_default();
    for _ in 0..2400 {
        if of("comm").trim_ascii_end() == name.as_bytes() && !of("environ").is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("it never became {name}");
}

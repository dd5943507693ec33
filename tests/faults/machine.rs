//! What the machine does to the process: its clock, its memory, its disk.

use std::{path::PathBuf, process::Command};

use serde_json::json;

use crate::{
    harness::{Operator, env, unique, wait_until},
    scene::{Kept, LONG, Scene, leads},
};

/// A wall clock that can be turned, for one process; the monotonic one goes on, as it does when a machine's is set.
struct Clock(PathBuf);

impl Clock {
    fn new() -> Self {
        let clock = Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("clock-{}", unique())));
        std::fs::create_dir_all(clock.0.parent().unwrap()).unwrap();
        clock.set("+0");
        clock
    }

    fn set(&self, offset: &str) {
        // Read at every look at the clock: never half of it.
        let new = self.0.with_extension("new");
        std::fs::write(&new, offset).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }
}

#[tokio::test]
async fn the_clock_jumps_by_an_hour_both_ways() {
    let scene = Scene::new().await;
    let (clock, library) = (Clock::new(), env("SECRETREF_FAKETIME"));
    let variables = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", clock.0.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    let operator = scene.start(&variables).await;
    leads(&operator).await;
    scene.in_place("app").await;
    scene.in_place("quiet").await;
    let (quiet, generation) = (Kept::of(&scene.acme, "quiet").await, scene.generation("app").await);
    for (jump, offset) in ["+3600", "+0"].iter().enumerate() {
        clock.set(offset);
        let value = scene.put("app").await;
        scene.holds("app", &value).await;
        scene.finished("app").await;
        assert!(operator.metric("secretref_leader", &[]).await > 0.5, "it does not lead any more");
        assert_eq!(scene.generation("app").await, generation + 1 + jump as i64, "one restart for each change");
    }
    quiet.check().await;
    let told = operator.audit();
    let hours: std::collections::BTreeSet<String> = told
        .lines()
        .filter_map(|line| {
            serde_json::from_str::<serde_json::Value>(line).ok()?["timestamp"].as_str()?.get(..13).map(str::to_owned)
        })
        .collect();
    assert!(hours.len() > 1, "its clock was not turned: {hours:?}");
    scene.done(&[&operator]).await;
}

#[tokio::test]
async fn it_runs_out_of_memory() {
    let scene = Scene::new().await;
    let operator = scene.straight().await;
    leads(&operator).await;
    scene.in_place("app").await;
    let kept = Kept::of(&scene.acme, "app").await;
    // Two megabytes more than it has.
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.pid())).unwrap();
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    let limit = (data.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() + 2048) * 1024;
    let limited =
        Command::new("prlimit").args(["--pid", &operator.pid().to_string(), &format!("--data={limit}")]).status();
    assert!(limited.unwrap().success());
    let large = "x".repeat(200_000);
    let reference = |n: usize| {
        let mut spec = Scene::spec("app");
        spec["data"].as_array_mut().unwrap().push(json!({ "key": "LARGE", "value": large }));
        (format!("large-{n}"), spec)
    };
    const MANY: usize = 60;
    for (name, spec) in (0..MANY).map(reference) {
        scene.acme.reference(&name, &spec).await;
    }
    ended(&operator).await;
    kept.check().await;
    // Somebody gives it more.
    operator.kill();
    operator.start_again().await;
    for (name, _) in (0..MANY).map(reference) {
        scene.finished(&name).await;
    }
    kept.check().await;
    scene.done(&[&operator]).await;
}

async fn ended(operator: &Operator) {
    let path = format!("/proc/{}/status", operator.pid());
    wait_until("the process ends", LONG, || async {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        if status.contains("State:\tZ") || status.is_empty() { Ok(()) } else { Err(status) }
    })
    .await;
}

/// Where its output goes there is no room: secrets are served all the same, and that audit events are lost is counted.
#[tokio::test]
async fn the_disk_is_full() {
    let scene = Scene::new().await;
    let operator = scene.on_a_full_disk().await;
    leads(&operator).await;
    scene.in_place("app").await;
    for _ in 0..2 {
        let value = scene.put("app").await;
        scene.holds("app", &value).await;
        scene.finished("app").await;
    }
    scene.put("gone").await;
    wait_until("what is lost is counted", LONG, || async {
        let lost = operator.metric("secretref_audit_events_dropped_total", &[]).await;
        if lost > 0.0 { Ok(()) } else { Err(operator.metrics().await) }
    })
    .await;
    scene.done(&[&operator]).await;
}

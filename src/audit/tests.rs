#![allow(clippy::unwrap_used)]
use std::{
    sync::mpsc::{Sender, channel},
    thread,
};

use super::*;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A pipe that nobody reads until it is told to.
struct Stuck(Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

fn event(n: usize) -> AuditEvent {
    AuditEvent {
        timestamp: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        requester_id: "SecretReference/acme-prod/payments".into(),
        secret_path: format!("vault/platform/acme--key-{n}"),
        operation: AuditOperation::Get,
        source_ip: None,
        trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
        result: AuditResult::Success,
    }
}

fn dropped(metrics: &Metrics) -> String {
    let text = metrics.encode();
    text.lines().find(|l| l.starts_with("secretref_audit_events_dropped_total")).unwrap().to_owned()
}

#[test]
fn one_json_line_each_in_order_and_whole() {
    let (written, metrics) = (Written::default(), Arc::new(Metrics::new()));
    let audit = Audit::to(written.clone(), None, Arc::clone(&metrics), 10_000).unwrap();
    thread::scope(|scope| {
        for from in [0, 1000] {
            let audit = &audit;
            scope.spawn(move || (from..from + 1000).for_each(|n| audit.record(event(n))));
        }
    });
    audit.close();
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let paths: Vec<String> = text
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["secret_path"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(paths.len(), 2000);
    for from in [0, 1000] {
        let own: Vec<_> = (from..from + 1000).map(|n| event(n).secret_path).collect();
        assert_eq!(paths.iter().filter(|p| own.contains(p)).cloned().collect::<Vec<_>>(), own);
    }
    assert_eq!(dropped(&metrics), "secretref_audit_events_dropped_total 0");
}

#[test]
fn the_line_has_the_seven_fields() {
    let with_ip = AuditEvent { source_ip: Some([10, 0, 0, 7].into()), operation: AuditOperation::List, ..event(1) };
    assert_eq!(
        serde_json::to_string(&with_ip).unwrap(),
        concat!(
            r#"{"timestamp":"2026-01-02T03:04:05.678Z","requester_id":"SecretReference/acme-prod/payments","#,
            r#""secret_path":"vault/platform/acme--key-1","operation":"list","source_ip":"10.0.0.7","#,
            r#""trace_id":"0af7651916cd43dd8448eb211c80319c","result":"success"}"#
        )
    );
}

#[test]
fn nobody_waits_for_a_stuck_pipe_and_what_is_lost_is_counted() {
    let (reader, pipe): (Sender<()>, _) = channel();
    let metrics = Arc::new(Metrics::new());
    let audit = Audit::to(Stuck(pipe), None, Arc::clone(&metrics), 8).unwrap();
    (0..10_000).for_each(|n| audit.record(event(n)));
    assert_ne!(dropped(&metrics), "secretref_audit_events_dropped_total 0");
    drop(reader);
    audit.close();
}

#[test]
fn what_cannot_be_written_is_counted() {
    let metrics = Arc::new(Metrics::new());
    let audit = Audit::to(Broken, None, Arc::clone(&metrics), 100).unwrap();
    audit.record(event(1));
    audit.close();
    assert_eq!(dropped(&metrics), "secretref_audit_events_dropped_total 1");
    audit.record(event(2));
    assert_eq!(dropped(&metrics), "secretref_audit_events_dropped_total 2");
}

#[test]
fn an_access_that_is_given_up_leaves_an_event() {
    let (written, metrics) = (Written::default(), Arc::new(Metrics::new()));
    let audit = Audit::to(written.clone(), Some([10, 0, 0, 9].into()), metrics, 10).unwrap();
    let begin = |n| audit.begin(|source_ip| AuditEvent { source_ip, result: AuditResult::Error, ..event(n) });
    begin(1).end(AuditResult::Denied);
    drop(begin(2));
    audit.close();
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("key-1") && lines[0].contains(r#""result":"denied""#), "{text}");
    assert!(lines[1].contains("key-2") && lines[1].contains(r#""result":"error""#), "{text}");
    assert!(text.contains(r#""source_ip":"10.0.0.9""#));
}

#[test]
fn off_builds_no_event() {
    let audit = Audit::off();
    audit.begin(|_| unreachable!()).end(AuditResult::Success);
    audit.record(event(1));
    audit.close();
}

#[test]
fn results_follow_the_answer() {
    let of = |failure| AuditResult::of::<()>(&Err(StoreError::new(failure, "")));
    assert_eq!(AuditResult::of(&Ok(None::<()>)), AuditResult::Success);
    assert_eq!(of(Failure::Denied), AuditResult::Denied);
    assert_eq!(of(Failure::Unauthenticated), AuditResult::Denied);
    assert_eq!(of(Failure::CircuitOpen), AuditResult::Error);
    assert_eq!(of(Failure::Unavailable), AuditResult::Error);
}

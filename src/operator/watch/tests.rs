#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;

/// Runs a watch on paper: an object is its key, and one with a question mark cannot be read.
async fn told(events: Vec<watcher::Event<&'static str>>) -> Vec<String> {
    let stream = futures::stream::iter(events.into_iter().map(Ok));
    let convert = |object: &'static str| (object.trim_end_matches('?'), (!object.ends_with('?')).then_some(object));
    let told = seen(stream, convert).map(|s: Seen<&str, &str>| match s {
        Seen::Applied(key, _) => format!("applied {key}"),
        Seen::Deleted(key, last) => format!("deleted {key}, {}", if last.is_some() { "known" } else { "unknown" }),
        Seen::Unreadable(key) => format!("unreadable {key}"),
        Seen::Listed => "listed".to_owned(),
    });
    told.collect().await
}

#[tokio::test]
async fn what_a_new_list_does_not_have_is_gone() {
    use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
    let events =
        vec![Init, InitApply("a"), InitApply("b"), InitDone, Apply("c"), Delete("b"), Init, InitApply("a"), InitDone];
    let expected =
        ["applied a", "applied b", "listed", "applied c", "deleted b, known", "applied a", "deleted c, unknown"];
    assert_eq!(told(events).await, expected);
}

#[tokio::test]
async fn what_cannot_be_read_is_not_gone() {
    use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
    let events = vec![
        Init,
        InitApply("a"),
        InitApply("b?"),
        InitDone,
        Apply("a?"),
        Init,
        InitApply("a?"),
        InitApply("b"),
        InitDone,
        Delete("a?"),
    ];
    let expected =
        ["applied a", "unreadable b", "listed", "unreadable a", "unreadable a", "applied b", "deleted a, unknown"];
    assert_eq!(told(events).await, expected);
}

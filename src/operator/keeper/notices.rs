//! What a store says of changes, on its way to the engine: no more of it than from any other sender, and never in the
//! way of probes and upkeep.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use tokio::{
    task::consume_budget,
    time::{Instant, sleep_until},
};

use super::News;
use crate::{
    notify::{Changed, Rates},
    stores::Notice,
    telemetry::Metrics,
};

/// Of a store that was not known before, nothing was missed when its stream begins so soon.
const FRESH: Duration = Duration::from_secs(10);
/// Between two times that anything may have changed.
const PAUSE: Duration = Duration::from_secs(1);

/// Passes on what this stream says, for ever. `begun`: when the store was first opened.
pub(super) async fn pass_on(
    stream: Option<BoxStream<'static, Notice>>,
    begun: Instant,
    uid: &Arc<str>,
    metrics: &Metrics,
    tell: &impl Fn(News),
) {
    let Some(mut stream) = stream else { return std::future::pending().await };
    let (mut rates, mut all) = (Rates::default(), All { last: None, owed: false });
    let mut known = Instant::now().saturating_duration_since(begun) >= FRESH;
    loop {
        // A stream that never pauses would keep its task from everything else.
        consume_budget().await;
        tokio::select! {
            notice = stream.next() => {
                let changed = match notice {
                    Some(Notice::Key(key)) => Changed::Key(key.as_str().into()),
                    Some(Notice::Folder(folder)) => Changed::Folder(folder),
                    Some(Notice::Anything) if !known && begun.elapsed() < FRESH => {
                        known = true;
                        continue;
                    }
                    Some(Notice::Anything) => Changed::All,
                    None => return std::future::pending().await,
                };
                known = true;
                let within = changed == Changed::All || rates.allow(uid, 1, begun.elapsed());
                metrics.notification("stream", if within { "accepted" } else { "overflow" });
                if within && changed != Changed::All {
                    tell(News::Noticed(changed));
                } else if all.may_be_told() {
                    tell(News::Noticed(Changed::All));
                }
            }
            () = sleep_until(all.next()), if all.owed => {
                if all.may_be_told() {
                    tell(News::Noticed(Changed::All));
                }
            }
        }
    }
}

/// How often it is told that anything may have changed.
struct All {
    last: Option<Instant>,
    owed: bool,
}

impl All {
    /// Whether it may be told now; if not, it is owed.
    fn may_be_told(&mut self) -> bool {
        let now = Instant::now();
        let may = self.last.is_none() || self.next() <= now;
        self.owed = !may;
        if may {
            self.last = Some(now);
        }
        may
    }

    fn next(&self) -> Instant {
        self.last.map_or_else(Instant::now, |last| last + PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::stream;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::naming::StoreKey;

    fn keys(count: usize) -> Vec<Notice> {
        (0..count).map(|n| Notice::Key(StoreKey::verbatim(format!("acme--key-{n}")))).collect()
    }

    /// What the engine is told within this time.
    async fn told(stream: BoxStream<'static, Notice>, known_for: Duration, within: Duration) -> Vec<Changed> {
        let told = Mutex::new(Vec::new());
        let tell = |news| {
            let News::Noticed(changed) = news else { panic!("something else") };
            told.lock().unwrap().push(changed);
        };
        let begun = Instant::now();
        sleep(known_for).await;
        let metrics = Metrics::new();
        let _ = timeout(within, pass_on(Some(stream), begun, &"uid".into(), &metrics, &tell)).await;
        told.into_inner().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_new_store_nothing_was_missed_and_of_a_known_one_anything() {
        let begins = || {
            let notices = vec![Notice::Anything, Notice::Folder("acme".into())];
            stream::iter(notices).chain(stream::pending()).boxed()
        };
        let folder = || Changed::Folder("acme".into());
        let hour = Duration::from_secs(3600);
        assert_eq!(told(begins(), Duration::ZERO, hour).await, [folder()]);
        assert_eq!(told(begins(), hour, hour).await, [Changed::All, folder()]);
        // A second beginning is a gap, however soon it comes.
        let again = stream::iter(vec![Notice::Anything; 2]).chain(stream::pending()).boxed();
        assert_eq!(told(again, Duration::ZERO, hour).await, [Changed::All]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_some_keys_and_then_everything_now_and_then() {
        let flood = stream::iter(keys(100_000)).chain(stream::pending()).boxed();
        let told = told(flood, Duration::ZERO, Duration::from_secs(3600)).await;
        let singles = told.iter().filter(|changed| matches!(changed, Changed::Key(_))).count();
        assert!(singles <= 300, "{singles} keys one by one");
        assert!((singles + 1..=singles + 3).contains(&told.len()), "{} in all", told.len());
        assert_eq!(told.last(), Some(&Changed::All), "what came last is not forgotten");
    }

    /// It runs in one task with probes and upkeep.
    #[tokio::test]
    async fn a_flood_without_end_lets_others_run() {
        let flood = stream::iter(keys(1)).cycle_forever();
        tokio::select! {
            _ = told(flood, Duration::ZERO, Duration::from_secs(60)) => panic!("nothing else ran"),
            () = async { for _ in 0..10 { tokio::task::yield_now().await } } => {}
        }
    }

    trait CycleForever {
        fn cycle_forever(self) -> BoxStream<'static, Notice>;
    }

    impl CycleForever for stream::Iter<std::vec::IntoIter<Notice>> {
        fn cycle_forever(self) -> BoxStream<'static, Notice> {
            self.cycle().boxed()
        }
    }
}

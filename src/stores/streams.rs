//! Streams of notices that mend themselves. A store says how to subscribe and what it hears; when to try again, and when
//! a connection is dead, is decided here. It fails in silence: a store without its stream is a healthy store.

use std::time::Duration;

use async_trait::async_trait;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::time::{Instant, sleep, timeout};

use super::{Failure, Notice, StoreError};

/// The first pause; it doubles up to the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// A server that has no stream, or not for this login, is asked again after this.
const SELDOM: Duration = Duration::from_secs(3600);
/// What lasted so long did not fail at once.
const LASTED: Duration = Duration::from_secs(60);
/// How long a subscription may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Something changed.
    Notice(Notice),
    /// The server is there.
    Alive,
}

/// A stream that is open; when it ends it is opened anew.
pub(super) type Open = BoxStream<'static, Heard>;

/// Why there is no stream.
#[derive(Debug)]
pub(super) enum Unheard {
    /// The server has none, or not for this login.
    Absent(StoreError),
    /// Not now.
    Failed(StoreError),
}

impl From<StoreError> for Unheard {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// How to subscribe.
#[async_trait]
pub(super) trait Subscribe: Send + 'static {
    /// Without a sign of life for so long, the connection is dead.
    const SILENCE: Duration;

    /// One try.
    async fn subscribe(&self) -> Result<Open, Unheard>;
}

/// Notices for ever.
pub(super) fn follow(subscription: impl Subscribe) -> BoxStream<'static, Notice> {
    let following = Following { subscription, open: None, pause: FIRST, told: None };
    stream::unfold(following, |mut following| async move { Some((following.next().await, following)) }).boxed()
}

struct Following<S> {
    subscription: S,
    open: Option<(Open, Instant)>,
    pause: Duration,
    /// What the log was told last.
    told: Option<Told>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Open,
    Absent,
    Failed,
}

impl<S: Subscribe> Following<S> {
    async fn next(&mut self) -> Notice {
        loop {
            let Some((open, since)) = &mut self.open else {
                if self.connect().await {
                    return Notice::Anything;
                }
                continue;
            };
            match timeout(S::SILENCE, open.next()).await {
                Ok(Some(Heard::Notice(notice))) => return notice,
                Ok(Some(Heard::Alive)) => {}
                Ok(None) | Err(_) => {
                    if since.elapsed() >= LASTED {
                        self.pause = FIRST;
                    }
                    self.open = None;
                    tracing::debug!("the change stream ended");
                    self.rest(None).await;
                }
            }
        }
    }

    /// Whether it is open now. If not, some time has passed.
    async fn connect(&mut self) -> bool {
        let tried = timeout(PATIENCE, self.subscription.subscribe()).await.unwrap_or_else(|_| {
            let message = "subscribing to changes failed: the server does not answer: look at what is in front of it";
            Err(Unheard::Failed(StoreError::new(Failure::Unavailable, message)))
        });
        match tried {
            Ok(open) => {
                self.open = Some((open, Instant::now()));
                if self.tells(Told::Open) {
                    tracing::info!("the store tells its changes; it is polled all the same");
                }
                true
            }
            Err(Unheard::Absent(why)) => {
                if self.tells(Told::Absent) {
                    tracing::info!(%why, "the store tells no changes; polls find them");
                }
                sleep(jittered(SELDOM)).await;
                false
            }
            Err(Unheard::Failed(why)) => {
                if self.tells(Told::Failed) {
                    tracing::info!(%why, "the store tells no changes for now; polls find them");
                }
                let wanted = if let Failure::RateLimited(wanted) = why.failure { wanted } else { None };
                self.rest(wanted).await;
                false
            }
        }
    }

    /// Whether that is news for the log. A server without a stream is told of once.
    fn tells(&mut self, now: Told) -> bool {
        let before = self.told.replace(now);
        before != Some(now)
    }

    async fn rest(&mut self, at_least: Option<Duration>) {
        sleep(jittered(self.pause).max(at_least.unwrap_or_default())).await;
        self.pause = (self.pause * 2).min(LONGEST);
    }
}

/// Up to half as long again, so that a server that comes back is not met by all at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(1.0..1.5))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::naming::StoreKey;

    /// What each subscription comes to, in turn; then none any more.
    struct Scripted {
        script: Mutex<VecDeque<Result<Open, Unheard>>>,
        tries: Arc<Mutex<Vec<Instant>>>,
    }

    #[async_trait]
    impl Subscribe for Scripted {
        const SILENCE: Duration = Duration::from_secs(90);

        async fn subscribe(&self) -> Result<Open, Unheard> {
            self.tries.lock().unwrap().push(Instant::now());
            self.script.lock().unwrap().pop_front().unwrap_or_else(|| Err(Unheard::Failed(error())))
        }
    }

    fn error() -> StoreError {
        StoreError::new(Failure::Unavailable, "no: wait")
    }

    fn key(text: &str) -> Notice {
        Notice::Key(StoreKey::verbatim(text))
    }

    fn lasting(heard: Vec<Heard>) -> Result<Open, Unheard> {
        Ok(stream::iter(heard).chain(stream::pending()).boxed())
    }

    type Tries = Arc<Mutex<Vec<Instant>>>;

    fn scripted(script: Vec<Result<Open, Unheard>>) -> (BoxStream<'static, Notice>, Tries) {
        let tries = Tries::default();
        let subscription = Scripted { script: Mutex::new(script.into()), tries: tries.clone() };
        (follow(subscription), tries)
    }

    fn gaps(tries: &Tries) -> Vec<Duration> {
        tries.lock().unwrap().windows(2).map(|two| two[1] - two[0]).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn after_every_gap_anything_may_have_changed() {
        let ends = || Ok(stream::iter(vec![Heard::Alive, Heard::Notice(key("a"))]).boxed());
        let (stream, tries) = scripted(vec![ends(), Err(Unheard::Failed(error())), ends()]);
        let heard: Vec<Notice> = stream.take(4).collect().await;
        assert_eq!(heard, [Notice::Anything, key("a"), Notice::Anything, key("a")]);
        assert_eq!(tries.lock().unwrap().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_dies_in_silence_is_noticed() {
        let (mut stream, tries) = scripted(vec![lasting(vec![]), lasting(vec![Heard::Notice(key("a"))])]);
        let begun = Instant::now();
        assert_eq!(stream.next().await, Some(Notice::Anything));
        assert_eq!(stream.next().await, Some(Notice::Anything));
        assert!((Scripted::SILENCE..2 * Scripted::SILENCE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        assert_eq!((stream.next().await, tries.lock().unwrap().len()), (Some(key("a")), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_keep_it_for_ever() {
        let ticks = stream::unfold((), |()| async {
            sleep(Duration::from_secs(60)).await;
            Some((Heard::Alive, ()))
        });
        let (mut stream, tries) = scripted(vec![Ok(ticks.boxed())]);
        assert_eq!(stream.next().await, Some(Notice::Anything));
        assert!(timeout(Duration::from_secs(86_400), stream.next()).await.is_err(), "nothing changed");
        assert_eq!(tries.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_again_ever_more_seldom() {
        let (mut stream, tries) = scripted(vec![]);
        assert!(timeout(Duration::from_secs(7200), stream.next()).await.is_err());
        let gaps = gaps(&tries);
        assert!(gaps[0] >= FIRST && gaps[0] < FIRST * 2, "{gaps:?}");
        assert!(gaps.windows(2).all(|two| two[1] > two[0].mul_f64(0.6)), "{gaps:?}");
        assert!(gaps.iter().all(|gap| *gap <= LONGEST.mul_f64(1.5)), "{gaps:?}");
        assert!(gaps.len() < 35, "{} tries in two hours", gaps.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_ends_at_once_each_time_is_no_busy_loop() {
        let at_once = || Ok(stream::empty().boxed());
        let (stream, tries) = scripted((0..12).map(|_| at_once()).collect());
        let begun = Instant::now();
        assert_eq!(stream.take(12).collect::<Vec<_>>().await, vec![Notice::Anything; 12]);
        assert!(begun.elapsed() > Duration::from_secs(1000), "{:?} for 12 tries", gaps(&tries));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_a_stream_is_asked_at_most_hourly() {
        let none = || Err(Unheard::Absent(error()));
        let (mut stream, tries) = scripted(vec![none(), none(), lasting(vec![])]);
        assert_eq!(stream.next().await, Some(Notice::Anything), "a licence may come");
        assert!(gaps(&tries).iter().all(|gap| *gap >= SELDOM), "{:?}", gaps(&tries));
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_says_how_long_to_wait() {
        let slow = StoreError::new(Failure::RateLimited(Some(Duration::from_secs(600))), "slow down: wait");
        let (mut stream, tries) = scripted(vec![Err(Unheard::Failed(slow)), lasting(vec![])]);
        assert_eq!(stream.next().await, Some(Notice::Anything));
        assert!(gaps(&tries)[0] >= Duration::from_secs(600));
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscription_that_hangs_is_given_up() {
        struct Hangs;
        #[async_trait]
        impl Subscribe for Hangs {
            const SILENCE: Duration = Duration::from_secs(90);
            async fn subscribe(&self) -> Result<Open, Unheard> {
                std::future::pending().await
            }
        }
        let mut following = Following { subscription: Hangs, open: None, pause: FIRST, told: None };
        let begun = Instant::now();
        assert!(!following.connect().await && begun.elapsed() >= PATIENCE);
    }
}

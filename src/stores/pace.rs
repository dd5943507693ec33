//! Requests beyond the first of one call. The layers let a call through when its first request may be sent; each further
//! one waits here for its own turn, and begins its own time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

tokio::task_local! {
    static PACE: Arc<Pace>;
}

/// Takes leave for one more request, or tells how long to wait.
type Take = Box<dyn Fn() -> Result<(), Duration> + Send + Sync>;

/// The requests of one call.
pub(super) struct Pace {
    take: Take,
    /// How long the store wants silence, if it does; its rate is another matter.
    held_for: Box<dyn Fn() -> Option<Duration> + Send + Sync>,
    timeout: Duration,
    state: Mutex<State>,
    given_up: Notify,
}

struct State {
    begun: bool,
    deadline: Instant,
    held: Option<Duration>,
}

/// Why a call was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// A request was not answered in time.
    NoAnswer,
    /// The store asked for silence in the middle of it, for so long.
    Held(Duration),
}

/// A call waits for a turn up to this long; with more to go it is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// To be called before each request to a store. The first one of a call has its leave already; outside of the layers
/// there are no limits.
pub(super) async fn request() {
    let Ok(pace) = PACE.try_with(Arc::clone) else { return };
    if !std::mem::replace(&mut pace.state().begun, true) {
        return;
    }
    while let Err(wait) = (pace.take)() {
        if let Some(rest) = (pace.held_for)().filter(|rest| *rest > PATIENCE) {
            pace.state().held = Some(rest);
            pace.given_up.notify_one();
            return std::future::pending().await;
        }
        // Its own time begins when it is sent.
        pace.state().deadline = Instant::now() + wait + pace.timeout;
        sleep(wait).await;
    }
    pace.state().deadline = Instant::now() + pace.timeout;
}

/// Runs a call whose requests each have this much time.
pub(super) async fn paced<T>(
    timeout: Duration,
    take: impl Fn() -> Result<(), Duration> + Send + Sync + 'static,
    held_for: impl Fn() -> Option<Duration> + Send + Sync + 'static,
    call: impl Future<Output = T>,
) -> Result<T, Late> {
    let state = Mutex::new(State { begun: false, deadline: Instant::now() + timeout, held: None });
    let pace =
        Arc::new(Pace { take: Box::new(take), held_for: Box::new(held_for), timeout, state, given_up: Notify::new() });
    let mut call = std::pin::pin!(PACE.scope(pace.clone(), call));
    loop {
        let deadline = pace.state().deadline;
        tokio::select! {
            biased;
            answer = &mut call => return Ok(answer),
            () = sleep_until(deadline) => {}
            () = pace.given_up.notified() => {}
        }
        let state = pace.state();
        if let Some(wait) = state.held {
            return Err(Late::Held(wait));
        }
        if state.deadline <= Instant::now() {
            return Err(Late::NoAnswer);
        }
    }
}

impl Pace {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_request_beyond_the_first_waits_for_its_turn_and_has_its_own_time() {
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = taken.clone();
        // Every second try is let through.
        let take = move || if counted.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) { Err(SECOND) } else { Ok(()) };
        let call = async {
            for _ in 0..5 {
                request().await;
                sleep(SECOND).await;
            }
        };
        let begun = Instant::now();
        assert_eq!(paced(2 * SECOND, take, || None, call).await, Ok(()));
        assert_eq!((taken.load(Ordering::SeqCst), begun.elapsed()), (8, 9 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_too_long_ends_the_call() {
        let call = async {
            request().await;
            sleep(SECOND).await;
            request().await;
            sleep(3 * SECOND).await;
        };
        let begun = Instant::now();
        assert_eq!(paced(2 * SECOND, || Ok(()), || None, call).await, Err(Late::NoAnswer));
        assert_eq!(begun.elapsed(), 3 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_given_up_when_the_store_wants_silence_for_long() {
        let call = async {
            request().await;
            request().await;
        };
        assert_eq!(paced(SECOND, || Err(60 * SECOND), || Some(60 * SECOND), call).await, Err(Late::Held(60 * SECOND)));
    }
}

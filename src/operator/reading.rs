//! Reads: resolution driven with a store behind it, and the polls of the key table.

use std::sync::Arc;

use futures::{StreamExt, stream};
use tracing::{Instrument, Span};

use super::engine::Survey;
use crate::{
    api::{Reason, SecretReferenceSpec},
    naming::{Scheme, StoreKey},
    refresh::State,
    resolve::{Answer, Answers, Problem, Read, Resolved, Step, Tenant, resolve},
    stores::layers::{Access, Freshness, Layers},
    telemetry::Trace,
};

/// Resolves a spec; what was asked for on the way is told, too. `answers`: what is known and need not be asked.
pub async fn resolve_from(
    layers: Option<&Layers>,
    spec: &SecretReferenceSpec,
    tenant: &Tenant,
    scheme: &Scheme,
    access: &Access<'_>,
    mut answers: Answers,
) -> (Answers, Result<Resolved, Problem>) {
    loop {
        match resolve(spec, tenant, scheme, &answers) {
            Step::Done(resolved) => return (answers, Ok(resolved)),
            Step::Failed(problem) => return (answers, Err(problem)),
            Step::Ask(wanted) => {
                let Some(layers) = layers else {
                    let message = "the store is not connected yet: the operator syncs when it is";
                    return (answers, Err(Problem::new(Reason::StoreNotReady, message)));
                };
                let asked = wanted.into_iter().map(async |read| {
                    let answer = ask(layers, &read, access).await;
                    (read, answer)
                });
                // No more at once than the store takes: what is shared with others waits for nobody's whole list.
                let most = layers.settings().max_concurrent;
                answers.extend(stream::iter(asked).buffer_unordered(most).collect::<Vec<_>>().await);
            }
        }
    }
}

/// One question to a store.
pub(crate) async fn ask(layers: &Layers, read: &Read, access: &Access<'_>) -> Answer {
    match read {
        Read::Key(key, version) => match layers.get(key, version.as_deref(), access).await {
            Ok(Some(stored)) => Answer::Present(Some(stored)),
            Ok(None) => Answer::Absent,
            Err(error) => Answer::Failed(error),
        },
        Read::List(prefix) => match layers.list(prefix, access).await {
            Ok(keys) => Answer::Listed(sorted(&keys)),
            Err(error) => Answer::Failed(error),
        },
    }
}

/// One poll of the key table: goes past the cache, and leaves the value there for those it wakes.
pub async fn poll(layers: &Layers, read: &Read, requester: &str, trace: &Trace) -> Option<State> {
    let access = Access { requester, trace_id: trace.id(), freshness: Freshness::PastCache };
    state_of(&ask(layers, read, &access).instrument(span(trace)).await)
}

/// The marks of what is listed where these keys are.
pub async fn survey(layers: &Layers, reads: &[Read], requester: &str, trace: &Trace) -> Survey {
    let keys: Vec<StoreKey> =
        reads.iter().filter_map(|r| if let Read::Key(key, None) = r { Some(key.clone()) } else { None }).collect();
    let access = Access { requester, trace_id: trace.id(), freshness: Freshness::PastCache };
    layers.changes(&keys, &access).instrument(span(trace)).await
}

fn span(trace: &Trace) -> Span {
    trace.adopt(tracing::debug_span!("poll", trace_id = trace.id()))
}

/// What the key table learns from an answer.
pub fn state_of(answer: &Answer) -> Option<State> {
    Some(match answer {
        Answer::Present(Some(stored)) => State::Present(stored.token.clone()),
        Answer::Present(None) => return None,
        Answer::Absent => State::Absent,
        Answer::Listed(keys) => State::Listed(keys.clone()),
        Answer::Failed(error) => State::Failed(error.clone()),
    })
}

/// Stores list in no particular order; another order is no change.
fn sorted(keys: &Arc<Vec<StoreKey>>) -> Arc<Vec<StoreKey>> {
    if keys.is_sorted() {
        return keys.clone();
    }
    let mut keys = Vec::clone(keys);
    keys.sort();
    Arc::new(keys)
}

//! Changes, as the API server tells them.

use std::time::Duration;

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{ObjectMeta, PartialObjectMeta},
    runtime::{WatchStreamExt, watcher, watcher::Event},
};

use super::{SELECTOR, token};
use crate::{
    naming::StoreKey,
    stores::{Change, ChangeToken},
};

/// How long the watch waits for the next part of a list; longer than its pauses after errors.
const LISTING: Duration = Duration::from_secs(90);

/// What is there, and every change to it.
pub(super) fn changes(client: Client, namespace: &str) -> BoxStream<'static, Change> {
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, namespace);
    // A connection that died silently is noticed when the watch should have ended and did not.
    let config = watcher::Config::default().fields(SELECTOR).timeout(120);
    let begin = move || watcher(api.clone(), config.clone()).default_backoff().boxed();
    let start = (begin(), Some(Vec::new()), begin);
    stream::unfold(start, |(mut events, mut listed, begin)| async move {
        loop {
            // A list that is never answered would hang for ever: `kube` gives it no time.
            let event = match &listed {
                Some(_) => tokio::time::timeout(LISTING, events.next()).await.ok(),
                None => Some(events.next().await),
            };
            let change = match event.map(Option::transpose) {
                None => {
                    (events, listed) = (begin(), Some(Vec::new()));
                    continue;
                }
                // The watcher starts over by itself; the probe tells what is wrong.
                Some(Err(_)) => continue,
                Some(Ok(None)) => return None,
                Some(Ok(Some(Event::Init))) => {
                    listed = Some(Vec::new());
                    continue;
                }
                Some(Ok(Some(Event::InitApply(secret)))) => {
                    listed.get_or_insert_default().push(entry(&secret.metadata));
                    continue;
                }
                Some(Ok(Some(Event::InitDone))) => Change::All(listed.take().unwrap_or_default()),
                Some(Ok(Some(Event::Apply(secret)))) => {
                    let (key, token) = entry(&secret.metadata);
                    Change::Key(key, Some(token))
                }
                Some(Ok(Some(Event::Delete(secret)))) => Change::Key(entry(&secret.metadata).0, None),
            };
            return Some((change, (events, listed, begin)));
        }
    })
    .boxed()
}

fn entry(metadata: &ObjectMeta) -> (StoreKey, ChangeToken) {
    (StoreKey::verbatim(metadata.name.clone().unwrap_or_default()), token(metadata))
}

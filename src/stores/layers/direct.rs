//! What is neither cached nor shared nor tried again: writes, what a key is without its value, and lists of changes.
//! Through breaker and limits it goes like everything else.

use std::{collections::HashMap, sync::atomic::Ordering};

use super::{
    super::{ChangeToken, Metadata, StoreError, Write, Written},
    Access, Lasting, Layers,
    attempt::Attempt,
    limits::Lane,
    request::Request,
};
use crate::{audit::AuditOperation, audit::AuditResult, naming::StoreKey};

impl Layers {
    /// Writes a key. The requester is the one who writes.
    ///
    /// # Errors
    /// As [`super::super::Store::set`].
    pub async fn set(&self, key: &StoreKey, write: &Write, access: &Access<'_>) -> Result<Written, StoreError> {
        self.write(AuditOperation::Set, "set", key, access, self.store.set(key, write)).await
    }

    /// Deletes a key; answers whether it was there.
    ///
    /// # Errors
    /// As [`super::super::Store::delete`].
    pub async fn delete(&self, key: &StoreKey, access: &Access<'_>) -> Result<bool, StoreError> {
        self.write(AuditOperation::Delete, "delete", key, access, self.store.delete(key)).await
    }

    /// Makes an earlier version the latest one; answers the version that it has then.
    ///
    /// # Errors
    /// As [`super::super::Store::restore`].
    pub async fn restore(
        &self,
        key: &StoreKey,
        version: &str,
        access: &Access<'_>,
    ) -> Result<Option<String>, StoreError> {
        self.write(AuditOperation::Set, "restore", key, access, self.store.restore(key, version)).await
    }

    /// What is known of a key without its value.
    ///
    /// # Errors
    /// As [`super::super::Store::metadata`].
    pub async fn metadata(&self, key: &StoreKey, access: &Access<'_>) -> Result<Option<Metadata>, StoreError> {
        self.direct(AuditOperation::List, "metadata", key.as_str(), access, self.store.metadata(key)).await
    }

    /// The versions of a key, newest first.
    ///
    /// # Errors
    /// As [`super::super::Store::versions`].
    pub async fn versions(&self, key: &StoreKey, access: &Access<'_>) -> Result<Vec<Metadata>, StoreError> {
        self.direct(AuditOperation::List, "versions", key.as_str(), access, self.store.versions(key)).await
    }

    /// The marks of what is listed where these keys are.
    ///
    /// # Errors
    /// As [`super::super::Store::changes`].
    pub async fn changes(
        &self,
        keys: &[StoreKey],
        access: &Access<'_>,
    ) -> Result<Option<HashMap<StoreKey, ChangeToken>>, StoreError> {
        self.direct(AuditOperation::List, "changes", "*", access, self.store.changes(keys)).await
    }

    /// What is remembered of a key is no longer true, even if the write got no answer.
    async fn write<T>(
        &self,
        operation: AuditOperation,
        name: &'static str,
        key: &StoreKey,
        access: &Access<'_>,
        ask: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let _under_way = WriteUnderWay::begin(&self.lasting, key);
        self.direct(operation, name, key.as_str(), access, ask).await
    }

    async fn direct<T>(
        &self,
        operation: AuditOperation,
        name: &'static str,
        path: &str,
        access: &Access<'_>,
        ask: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut sent = None;
        let lane = Lane::of(access.requester, &self.lasting.operator);
        let attempt = Attempt { operation: name, lane, by: None };
        let ask = async {
            sent = Some(self.lasting.event(operation, path, access.requester, access.trace_id));
            ask.await
        };
        let answer = self.attempt(&attempt, |_| "success", ask).await;
        if let Some(sent) = sent {
            sent.end(AuditResult::of(&answer));
        }
        answer
    }
}

/// A write that is under way: also when nobody waits for its end, what was known of the key is forgotten.
struct WriteUnderWay<'a> {
    lasting: &'a Lasting,
    key: &'a StoreKey,
}

impl<'a> WriteUnderWay<'a> {
    fn begin(lasting: &'a Lasting, key: &'a StoreKey) -> Self {
        lasting.writes.fetch_add(1, Ordering::SeqCst);
        Self { lasting, key }
    }
}

impl Drop for WriteUnderWay<'_> {
    fn drop(&mut self) {
        self.lasting.writes.fetch_add(1, Ordering::SeqCst);
        self.lasting.cache.forget_key(&self.lasting.uid, self.key);
    }
}

impl super::Cache {
    /// Drops what is held of one key and of its versions; lists, too, since it may be new in them.
    pub(super) fn forget_key(&self, uid: &str, written: &StoreKey) {
        self.forget_where(|place| {
            &*place.uid == uid
                && match &place.request {
                    // Some stores do not tell letters of both cases apart; elsewhere one read more does no harm.
                    Request::Get { key, .. } => key.as_str().eq_ignore_ascii_case(written.as_str()),
                    Request::List { prefix } => written.as_str().starts_with(&**prefix),
                }
        });
    }
}

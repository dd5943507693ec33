//! A store as the suite sees it.

use std::sync::Arc;

use async_trait::async_trait;
use secretref::{
    naming::{Scheme, StoreKey},
    stores::{Payload, Store},
};

pub use crate::fault_proxy::Fault;

/// Under whose identity a store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The documented least reader.
    Reader,
    /// The documented least writer.
    Writer,
    /// May read what it knows the name of, and list nothing.
    GetOnly,
    /// May log in, and nothing else.
    Powerless,
    /// Whom the server does not know.
    Stranger,
}

/// A server with an empty store in it, and the way to it. Its own for each case.
#[async_trait]
pub trait Subject: Send + Sync + 'static {
    /// As the table in docs/stores.md names it.
    fn name(&self) -> &'static str;

    /// How it spells keys.
    fn scheme(&self) -> Scheme;

    /// The store, seen by somebody. Each call is a new session.
    fn store(&self, who: Who) -> Arc<dyn Store>;

    /// What its administrator puts there, past the product.
    async fn plant(&self, key: &StoreKey, payload: &Payload);

    /// What its administrator takes away, so that it can be restored where that is possible.
    async fn withdraw(&self, key: &StoreKey);

    /// Puts a fault in the way, or takes it away; `false`: there is no way to speak of.
    async fn fault(&self, fault: Option<Fault>) -> bool;

    /// Requests that went to the server so far: method and path.
    fn requests(&self) -> Vec<String>;

    /// A store that trusts another CA; `None`: there is no TLS to speak of.
    fn with_another_ca(&self) -> Option<Arc<dyn Store>>;

    /// Whether it tells who asks.
    fn has_identities(&self) -> bool;

    /// Logins that the server has seen; `None`: there are none, an identity is shown with each request.
    fn logins(&self) -> Option<usize>;

    /// Ends all sessions at the server, as an administrator does; credentials stay good. `false`: there are none.
    async fn end_sessions(&self) -> bool;

    /// Takes the rights of [`Who::Reader`] away, or gives them back.
    async fn rights(&self, given: bool);
}

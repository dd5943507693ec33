//! Infisical: a fake of either release, a server of its own for each case, each identity a machine identity.

use std::sync::Arc;

use async_trait::async_trait;
use secretref::{
    api::Provider,
    naming::{Scheme, StoreKey},
    stores::{Payload, Store, scheme},
};

use crate::{
    env::plant,
    fakes::infisical::{FakeInfisical, Identity, Release, Role},
    fault_proxy::FaultProxy,
    infisical_env::{by_secret, credentials, settings, try_store},
    suite::{Fault, Subject, Who},
};

/// A server of October 2024.
pub type V3 = Infisical<false>;
/// A current one.
pub type V4 = Infisical<true>;

pub struct Infisical<const CURRENT: bool> {
    fake: FakeInfisical,
    proxy: FaultProxy,
    reader: Identity,
    writer: Identity,
    powerless: Identity,
}

impl<const CURRENT: bool> Infisical<CURRENT> {
    pub async fn new() -> Self {
        let fake = FakeInfisical::start(if CURRENT { Release::Current } else { Release::October2024 }).await;
        let proxy = FaultProxy::before(&fake.address(), &fake.served.ca).await;
        let [reader, writer, powerless] = [Role::Viewer, Role::Admin, Role::Outsider].map(|role| fake.identity(role));
        Self { fake, proxy, reader, writer, powerless }
    }

    fn connect(&self, who: Who, ca: &str) -> Arc<dyn Store> {
        let identity = match who {
            // To read and to list is one right there.
            Who::Reader | Who::GetOnly | Who::Stranger => &self.reader,
            Who::Writer => &self.writer,
            Who::Powerless => &self.powerless,
        };
        let secret = if who == Who::Stranger { "canary-wrong" } else { &identity.client_secret };
        let credentials = credentials(&identity.client_id, &plant(secret));
        try_store(settings(&self.proxy.address, by_secret()), Some(ca.to_owned()), credentials).unwrap()
    }

    /// Folder and name.
    fn at<'a>(&self, key: &'a StoreKey) -> (String, &'a str) {
        let (folder, name) = key.as_str().rsplit_once('/').unwrap();
        (format!("/{folder}"), name)
    }
}

#[async_trait]
impl<const CURRENT: bool> Subject for Infisical<CURRENT> {
    fn name(&self) -> &'static str {
        if CURRENT { "infisical-v4" } else { "infisical-v3" }
    }

    fn scheme(&self) -> Scheme {
        let infisical = settings(&self.proxy.address, by_secret());
        scheme(&Provider { infisical: Some(infisical), ..Provider::default() }, None, None)
    }

    fn store(&self, who: Who) -> Arc<dyn Store> {
        self.connect(who, &self.proxy.ca)
    }

    async fn plant(&self, key: &StoreKey, payload: &Payload) {
        let Payload::Single(value) = payload else { panic!("it holds no map") };
        let (folder, name) = self.at(key);
        self.fake.put(&folder, name, value.expose_str().expect("text"));
    }

    async fn withdraw(&self, key: &StoreKey) {
        let (folder, name) = self.at(key);
        self.fake.remove(&folder, name);
    }

    async fn fault(&self, fault: Option<Fault>) -> bool {
        let fault = fault.map(|fault| match fault {
            Fault::Throttled(after) => Fault::Status(
                429,
                after,
                r#"{"statusCode":429,"message":"Rate limit exceeded. Please try again in 1 minute","error":"RateLimitExceeded"}"#,
            ),
            Fault::Unavailable => Fault::Status(
                503,
                None,
                r#"{"statusCode":503,"message":"Something went wrong","error":"InternalServerError"}"#,
            ),
            other => other,
        });
        self.proxy.fault(fault).await;
        true
    }

    fn requests(&self) -> Vec<String> {
        self.proxy.requests()
    }

    fn with_another_ca(&self) -> Option<Arc<dyn Store>> {
        Some(self.connect(Who::Reader, &self.fake.served.ca))
    }

    fn has_identities(&self) -> bool {
        true
    }

    fn logins(&self) -> Option<usize> {
        Some(self.requests().iter().filter(|r| r.ends_with("/auth/universal-auth/login")).count())
    }

    async fn end_sessions(&self) -> bool {
        self.fake.revoke_tokens();
        true
    }

    async fn rights(&self, given: bool) {
        self.fake.assign(&self.reader, if given { Role::Viewer } else { Role::Outsider });
    }
}

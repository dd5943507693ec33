//! Every way to log in, one login for all, and what is said when it is rejected.

use std::{sync::Arc, time::Duration};

use secretref::{
    api::{AzureAuth, AzureKeyVault, Empty, ManagedIdentity, ServiceAccountRef, WorkloadIdentity},
    stores::{Credentials, Failure, Store},
};

use crate::{
    azure::{by_secret, credentials, of_cluster, settings, store, try_store, vault},
    env::{Fixed, error, key, plant},
    fakes::{
        FakeKeyVault, Role,
        key_vault::{CLIENT, Federated, TENANT},
    },
};

pub fn federated() -> Federated {
    Federated {
        issuer: "https://oidc.example.com/cluster/".into(),
        subject: "system:serviceaccount:acme:reader".into(),
        audience: "api://AzureADTokenExchange".into(),
    }
}

fn workload(account: Option<&str>) -> AzureAuth {
    let account = account.map(|name| ServiceAccountRef { name: name.into() });
    let identity = WorkloadIdentity {
        tenant_id: Some(TENANT.into()),
        client_id: Some(CLIENT.into()),
        service_account_ref: account,
    };
    AzureAuth { workload_identity: Some(identity), ..AzureAuth::default() }
}

fn with(fake: &FakeKeyVault, auth: AzureAuth, credentials: Arc<dyn Credentials>) -> Arc<dyn Store> {
    try_store(settings(fake, Some(auth)), Some(fake.ca()), credentials).unwrap()
}

#[tokio::test]
async fn one_login_serves_all() {
    let fake = vault(Role::User).await;
    fake.put("acme--a", "canary-1");
    let (store, a) = (store(&fake), key("acme--a"));
    assert_eq!(store.logins(), 0, "nothing is sent before something is asked");
    let reads = (0..50).map(|_| store.get(&a, None));
    assert!(futures::future::join_all(reads).await.into_iter().all(|r| r.unwrap().is_some()));
    assert!(store.probe().await.unwrap().get);
    assert_eq!((store.logins(), fake.count("token"), fake.count("get")), (1, 1, 51));
    // Requests go without a token only until the vault has said what for.
    let challenges = fake.count("challenge");
    assert!(store.get(&a, None).await.unwrap().is_some());
    assert_eq!(fake.count("challenge"), challenges);
}

#[tokio::test]
async fn a_revoked_token_is_replaced_at_the_next_read() {
    let fake = vault(Role::User).await;
    fake.put("acme--a", "canary-1");
    let (store, a) = (store(&fake), key("acme--a"));
    assert!(store.get(&a, None).await.unwrap().is_some());
    for logins in 2..=4 {
        fake.revoke_tokens();
        let reads = (0..20).map(|_| store.get(&a, None));
        assert!(futures::future::join_all(reads).await.into_iter().all(|r| r.unwrap().is_some()));
        assert_eq!((store.logins(), fake.count("token")), (logins, usize::try_from(logins).unwrap()));
    }
    // Now its secret is gone as well: rejected once, remembered, and never tried in a loop.
    fake.revoke_tokens();
    fake.client_secret(CLIENT, "another");
    let before = fake.served.requests();
    for _ in 0..30 {
        error(store.get(&a, None).await, Failure::Unauthenticated, "AADSTS7000215");
    }
    error(store.probe().await, Failure::Unauthenticated, "the Secret credentials (key secret)");
    assert_eq!((fake.count("token"), fake.served.requests() - before), (5, 2));
    assert_eq!(store.logins(), 4);
    assert!(store.maintain().await.unwrap() >= Duration::from_secs(5));
}

#[tokio::test]
async fn tokens_that_live_shortly_are_used_to_their_end() {
    let fake = vault(Role::User).await;
    fake.token_life(15);
    let (store, a) = (store(&fake), key("acme--a"));
    for _ in 0..20 {
        assert_eq!(store.get(&a, None).await.unwrap(), None);
    }
    assert_eq!(store.logins(), 1, "not one for each read");
    tokio::time::sleep(Duration::from_millis(15_100)).await;
    assert_eq!(store.get(&a, None).await.unwrap(), None);
    assert_eq!(store.logins(), 2);
}

#[tokio::test]
async fn upkeep_replaces_a_token_before_a_read_has_to() {
    let fake = vault(Role::User).await;
    let (store, a) = (store(&fake), key("acme--a"));
    assert!(store.maintain().await.is_some(), "without a login there is nothing to keep");
    assert_eq!(store.logins(), 0);
    fake.token_life(20);
    assert_eq!(store.get(&a, None).await.unwrap(), None);
    let wait = store.maintain().await.unwrap();
    assert!(wait >= Duration::from_secs(1) && wait < Duration::from_secs(20), "{wait:?}");
    tokio::time::sleep(wait + Duration::from_millis(100)).await;
    fake.token_life(3599);
    let wait = store.maintain().await.unwrap();
    assert_eq!(store.logins(), 2);
    assert!(wait > Duration::from_secs(2400), "{wait:?}");
    // An authority that is away does no harm while there is a token.
    fake.fail_logins(1000, 503);
    assert_eq!(store.get(&a, None).await.unwrap(), None);
}

#[tokio::test]
async fn a_token_is_used_to_its_end_while_no_new_one_can_be_had() {
    let fake = vault(Role::User).await;
    fake.token_life(40);
    let (store, a) = (store(&fake), key("acme--a"));
    assert_eq!(store.get(&a, None).await.unwrap(), None);
    tokio::time::sleep(Duration::from_secs(33)).await;
    fake.fail_logins(1000, 503);
    for _ in 0..20 {
        assert_eq!(store.get(&a, None).await.unwrap(), None);
    }
    assert_eq!(fake.count("token"), 2, "not one for each read");
}

#[tokio::test]
async fn an_authority_that_is_away_is_no_rejected_login() {
    let fake = vault(Role::User).await;
    let (store, a) = (store(&fake), key("acme--a"));
    fake.fail_logins(2, 503);
    error(store.get(&a, None).await, Failure::Unavailable, "the client secret login at localhost failed");
    error(store.get(&a, None).await, Failure::Unavailable, "try again later");
    assert_eq!(store.get(&a, None).await.unwrap(), None, "and it is tried again at once");
    let nowhere =
        AzureKeyVault { authority_host: Some("https://127.0.0.1:1".into()), ..settings(&fake, Some(by_secret())) };
    let nowhere = try_store(nowhere, Some(fake.ca()), credentials()).unwrap();
    error(nowhere.get(&a, None).await, Failure::Unavailable, "login at 127.0.0.1 failed");
    let no_authority = AzureKeyVault { authority_host: Some(fake.url()), ..settings(&fake, Some(by_secret())) };
    fake.fail_logins(1, 404);
    let no_authority = try_store(no_authority, Some(fake.ca()), credentials()).unwrap();
    error(no_authority.get(&a, None).await, Failure::Unauthenticated, "AADSTS90033");
}

#[tokio::test]
async fn a_vault_of_another_tenant_takes_no_token() {
    let fake = vault(Role::User).await;
    fake.of_another_tenant();
    let (store, a) = (store(&fake), key("acme--a"));
    for _ in 0..20 {
        error(store.get(&a, None).await, Failure::Unauthenticated, "one of the tenant that the vault belongs to");
    }
    error(store.probe().await, Failure::Unauthenticated, "tenantId");
    assert!(fake.count("token") <= 2, "{} logins", fake.count("token"));
    assert!(fake.served.requests() <= 6, "{} requests", fake.served.requests());
}

#[tokio::test]
async fn what_is_wrong_with_a_client_secret() {
    let a = key("acme--a");
    let fake = vault(Role::User).await;
    fake.expire_client_secret(CLIENT);
    error(store(&fake).get(&a, None).await, Failure::Unauthenticated, "has expired: make a new one");
    let changed = |change: &dyn Fn(&mut secretref::api::AzureClientSecret)| {
        let mut auth = by_secret();
        change(auth.client_secret.as_mut().unwrap());
        with(&fake, auth, credentials())
    };
    let unknown = changed(&|secret| secret.client_id = "11111111-0000-0000-0000-000000000000".into());
    error(unknown.get(&a, None).await, Failure::Unauthenticated, "no such client: correct clientId");
    let elsewhere = changed(&|secret| secret.tenant_id = "contoso.example".into());
    error(elsewhere.get(&a, None).await, Failure::Unauthenticated, "no such tenant: correct tenantId");
    let nonsense = changed(&|secret| secret.tenant_id = "a/b?c".into());
    error(nonsense.get(&a, None).await, Failure::Misconfigured, "check tenantId");
    let missing = with(&fake, by_secret(), Arc::new(Fixed::default()));
    error(missing.get(&a, None).await, Failure::NotReady, "create it");
    // White space that an editor left does not matter.
    let fake = vault(Role::User).await;
    let spaced = Fixed([("secret".to_owned(), format!(" {}\r\n", crate::azure::secret()))].into());
    assert_eq!(with(&fake, by_secret(), Arc::new(spaced)).get(&a, None).await.unwrap(), None);
}

#[tokio::test]
async fn a_service_accounts_token_is_exchanged() {
    let (fake, a) = (FakeKeyVault::start().await, key("acme--a"));
    fake.role(CLIENT, Role::User);
    fake.federate(CLIENT, federated());
    let token = plant(&federated().token(600));
    // The operator's own, for the platform; one that is named, for a tenant.
    for (account, platform) in [(None, true), (Some("reader"), false)] {
        let store = with(&fake, workload(account), of_cluster(Some(&token), platform));
        assert_eq!(store.get(&a, None).await.unwrap(), None);
        assert_eq!(store.logins(), 1);
    }
    let none = with(&fake, workload(None), of_cluster(None, true));
    error(none.get(&a, None).await, Failure::NotReady, "create it");

    let other = Federated { subject: "system:serviceaccount:acme:other".into(), ..federated() };
    let foreign = Federated { issuer: "https://oidc.example.com/another/".into(), ..federated() };
    let wrong = Federated { audience: "vault".into(), ..federated() };
    for (token, part) in [
        (
            other.token(600),
            "AADSTS700213): add a federated credential with issuer https://oidc.example.com/cluster/, subject system:serviceaccount:acme:other, audience api://AzureADTokenExchange",
        ),
        (foreign.token(600), "AADSTS700211): add a federated credential with issuer https://oidc.example.com/another/"),
        (wrong.token(600), "AADSTS700212"),
        (federated().token(-60), "check the clocks"),
        ("no.jwt".to_owned(), "AADSTS50027"),
    ] {
        let store = with(&fake, workload(None), of_cluster(Some(&plant(&token)), true));
        error(store.get(&a, None).await, Failure::Unauthenticated, part);
    }
    fake.role("22222222-0000-0000-0000-000000000000", Role::User);
    let mut auth = workload(None);
    auth.workload_identity.as_mut().unwrap().client_id = Some("22222222-0000-0000-0000-000000000000".into());
    let store = with(&fake, auth, of_cluster(Some(&token), true));
    error(store.get(&a, None).await, Failure::Unauthenticated, "add a federated credential");
}

#[tokio::test]
async fn a_tenants_store_has_nothing_of_the_operators() {
    let fake = vault(Role::User).await;
    let tenants = |auth: Option<AzureAuth>| {
        try_store(settings(&fake, auth), Some(fake.ca()), of_cluster(Some("a.b.c"), false)).map(|_| ())
    };
    let own = "may not use the operator's identity";
    error(tenants(None), Failure::Misconfigured, own);
    let machine = AzureAuth { managed_identity: Some(ManagedIdentity::default()), ..AzureAuth::default() };
    error(tenants(Some(machine)), Failure::Misconfigured, own);
    let tools = AzureAuth { developer_tools: Some(Empty {}), ..AzureAuth::default() };
    error(tenants(Some(tools)), Failure::Misconfigured, own);
    error(tenants(Some(workload(None))), Failure::Misconfigured, "serviceAccountRef");
    for (field, clear) in
        [("tenantId", (|w| w.tenant_id = None) as fn(&mut WorkloadIdentity)), ("clientId", |w| w.client_id = None)]
    {
        let mut auth = workload(Some("reader"));
        clear(auth.workload_identity.as_mut().unwrap());
        error(tenants(Some(auth)), Failure::Misconfigured, field);
    }
    // Nor does the operator go wherever a tenant says.
    for (authority, goes) in [
        ("https://login.microsoftonline.com", true),
        ("https://login.microsoftonline.com/", true),
        ("https://login.microsoftonline.us", true),
        ("https://login.microsoftonline.com:8443", false),
        ("https://login.microsoftonline.com.evil.example", false),
        ("https://metadata.internal", false),
        ("http://localhost", false),
    ] {
        let settings =
            AzureKeyVault { authority_host: Some(authority.into()), ..settings(&fake, Some(workload(Some("reader")))) };
        let made = try_store(settings, Some(fake.ca()), of_cluster(Some("a.b.c"), false)).map(|_| ());
        match goes {
            true => made.unwrap(),
            false => drop(error(made, Failure::Misconfigured, "remove authorityHost")),
        }
    }
    tenants(Some(by_secret())).unwrap();
    tenants(Some(workload(Some("reader")))).unwrap();
}

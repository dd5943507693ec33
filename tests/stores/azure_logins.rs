//! Every way to log in, one login for all, and what is said when it is rejected.

use std::{io::Write as _, sync::Arc, time::Duration};

use secretref::{
    api::{AzureAuth, AzureKeyVault, Empty, ManagedIdentity, ServiceAccountRef, WorkloadIdentity},
    stores::{Credentials, Failure, Store},
};

use crate::{
    azure::{OfCluster, by_secret, credentials, settings, store, try_store, vault},
    env::{Fixed, error, key, plant},
    fakes::{
        FakeKeyVault, Role,
        key_vault::{CLIENT, Federated, TENANT},
    },
};

fn federated() -> Federated {
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

fn of_cluster(token: Option<&str>, platform: bool) -> Arc<OfCluster> {
    Arc::new(OfCluster { secrets: Fixed::default(), token: token.map(str::to_owned), platform })
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
    fake.token_life(4);
    let (store, a) = (store(&fake), key("acme--a"));
    for _ in 0..20 {
        assert_eq!(store.get(&a, None).await.unwrap(), None);
    }
    assert_eq!(store.logins(), 1, "not one for each read");
    tokio::time::sleep(Duration::from_millis(4100)).await;
    assert_eq!(store.get(&a, None).await.unwrap(), None);
    assert_eq!(store.logins(), 2);
}

#[tokio::test]
async fn upkeep_replaces_a_token_before_a_read_has_to() {
    let fake = vault(Role::User).await;
    let (store, a) = (store(&fake), key("acme--a"));
    assert!(store.maintain().await.is_some(), "without a login there is nothing to keep");
    assert_eq!(store.logins(), 0);
    fake.token_life(5);
    assert_eq!(store.get(&a, None).await.unwrap(), None);
    let wait = store.maintain().await.unwrap();
    assert!(wait >= Duration::from_secs(1) && wait < Duration::from_secs(5), "{wait:?}");
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
            "AADSTS700213): no federated credential of the client fits: add one with issuer https://oidc.example.com/cluster/, subject system:serviceaccount:acme:other, audience api://AzureADTokenExchange",
        ),
        (
            foreign.token(600),
            "AADSTS700211): no federated credential of the client fits: add one with issuer https://oidc.example.com/another/",
        ),
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
    error(store.get(&a, None).await, Failure::Unauthenticated, "no federated credential");
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
    tenants(Some(by_secret())).unwrap();
    tenants(Some(workload(Some("reader")))).unwrap();
}

/// Runs this test again in a process of its own, which has these variables: a process cannot change its own safely.
/// There it is false, and the test goes on.
async fn starts_over(test: &str, variables: &[(&str, String)]) -> bool {
    if std::env::var("SECRETREF_TEST_AGAIN").is_ok_and(|again| again == test) {
        return false;
    }
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("azure_logins::{test}"), "--nocapture"]);
    command.env("SECRETREF_TEST_AGAIN", test).envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
    for name in [
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
        "NO_PROXY",
        "no_proxy",
        "IDENTITY_ENDPOINT",
    ] {
        if !variables.iter().any(|(given, _)| *given == name) {
            command.env_remove(name);
        }
    }
    let done = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
    true
}

/// The store that the first process has made a server for.
fn of_environment(auth: Option<AzureAuth>) -> Arc<dyn Store> {
    let variable = |name: &str| std::env::var(name).unwrap();
    let url = variable("SECRETREF_TEST_URL");
    let settings = AzureKeyVault { vault_url: url.clone(), authority_host: Some(url), ca_ref: None, auth };
    try_store(settings, Some(variable("SECRETREF_TEST_CA")), of_cluster(None, true)).unwrap()
}

fn environment(fake: &FakeKeyVault) -> Vec<(&'static str, String)> {
    vec![("SECRETREF_TEST_URL", fake.url()), ("SECRETREF_TEST_CA", fake.ca())]
}

#[tokio::test]
async fn workload_identity_of_the_environment_is_the_default() {
    const NAME: &str = "workload_identity_of_the_environment_is_the_default";
    let fake = FakeKeyVault::start().await;
    fake.role(CLIENT, Role::User);
    fake.federate(CLIENT, federated());
    let path = std::env::temp_dir().join(format!("secretref-token-{:x}", rand::random::<u64>()));
    std::fs::File::create(&path).unwrap().write_all(federated().token(600).as_bytes()).unwrap();
    let mut variables = environment(&fake);
    variables.push(("AZURE_TENANT_ID", TENANT.into()));
    variables.push(("AZURE_CLIENT_ID", CLIENT.into()));
    variables.push(("AZURE_FEDERATED_TOKEN_FILE", path.to_string_lossy().into_owned()));
    if starts_over(NAME, &variables).await {
        assert_eq!((fake.count("token"), fake.count("get")), (2, 2));
        let _ = std::fs::remove_file(path);
        return;
    }
    let _ = std::fs::remove_file(path);
    let named = AzureAuth { workload_identity: Some(WorkloadIdentity::default()), ..AzureAuth::default() };
    for auth in [None, Some(named)] {
        assert_eq!(of_environment(auth).get(&key("acme--a"), None).await.unwrap(), None);
    }
    // The webhook's file goes away: the next login says what is missing.
    let token = std::env::var("AZURE_FEDERATED_TOKEN_FILE").unwrap();
    std::fs::remove_file(token).unwrap();
    error(of_environment(None).get(&key("acme--a"), None).await, Failure::NotReady, "AZURE_FEDERATED_TOKEN_FILE");
}

#[tokio::test]
async fn a_machines_identity_is_the_default_without_a_workloads() {
    const NAME: &str = "a_machines_identity_is_the_default_without_a_workloads";
    let fake = FakeKeyVault::start().await;
    fake.role(CLIENT, Role::User);
    fake.assign(None);
    let mut variables = environment(&fake);
    variables.push(("IDENTITY_ENDPOINT", format!("http://127.0.0.1:{}/msi/token", fake.machine.port)));
    variables.push(("IDENTITY_HEADER", fake.machine_header()));
    if starts_over(NAME, &variables).await {
        assert_eq!((fake.machine.requests(), fake.count("get")), (4, 3));
        return;
    }
    let machine = |client: Option<&str>| {
        let identity = ManagedIdentity { client_id: client.map(str::to_owned) };
        of_environment(Some(AzureAuth { managed_identity: Some(identity), ..AzureAuth::default() }))
    };
    for store in [of_environment(None), machine(None), machine(Some(CLIENT))] {
        assert_eq!(store.get(&key("acme--a"), None).await.unwrap(), None);
        assert_eq!(store.logins(), 1);
    }
    let other = machine(Some("33333333-0000-0000-0000-000000000000"));
    error(other.get(&key("acme--a"), None).await, Failure::Unauthenticated, "correct auth.managedIdentity.clientId");
}

/// The address of virtual machines is fixed: it is reached through a proxy here.
#[tokio::test]
async fn a_virtual_machines_identity() {
    const NAME: &str = "a_virtual_machines_identity";
    let fake = FakeKeyVault::start().await;
    fake.role(CLIENT, Role::User);
    fake.assign(Some(CLIENT));
    let mut variables = environment(&fake);
    variables.push(("HTTP_PROXY", format!("http://127.0.0.1:{}", fake.machine.port)));
    variables.push(("http_proxy", format!("http://127.0.0.1:{}", fake.machine.port)));
    // Of the workload there is only who it would be: no token.
    variables.push(("AZURE_TENANT_ID", TENANT.into()));
    variables.push(("AZURE_CLIENT_ID", CLIENT.into()));
    if starts_over(NAME, &variables).await {
        assert_eq!((fake.machine.requests(), fake.count("get")), (1, 1));
        return;
    }
    let store = of_environment(None);
    assert_eq!(store.get(&key("acme--a"), None).await.unwrap(), None);
}

#[tokio::test]
async fn a_machine_without_an_identity_is_soon_found_out() {
    const NAME: &str = "a_machine_without_an_identity_is_soon_found_out";
    let fake = FakeKeyVault::start().await;
    let mut variables = environment(&fake);
    variables.push(("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token".into()));
    variables.push(("IDENTITY_HEADER", "none".into()));
    variables.push(("PATH", "/nonexistent".into()));
    if starts_over(NAME, &variables).await {
        return;
    }
    error(
        of_environment(None).get(&key("acme--a"), None).await,
        Failure::Unavailable,
        "no identity answers on this machine",
    );
    let tools = AzureAuth { developer_tools: Some(Empty {}), ..AzureAuth::default() };
    error(of_environment(Some(tools)).get(&key("acme--a"), None).await, Failure::Unauthenticated, "az login");
}

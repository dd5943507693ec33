//! Logins that a process has from its environment or its machine, each in a process of its own; and its log.

use std::sync::Arc;

use secretref::{
    api::{AzureAuth, AzureKeyVault, Empty, ManagedIdentity, WorkloadIdentity},
    stores::{Failure, Store, When, Write},
};

use crate::{
    azure::{by_secret, of_cluster, secret, try_store, vault},
    azure_logins::federated,
    env::{Fixed, error, key},
    fakes::{
        FakeKeyVault, Role,
        key_vault::{CLIENT, TENANT},
    },
};

/// Runs this test again in a process of its own, which has these variables: a process cannot change its own safely.
/// There is nothing that it said then, and the test goes on.
async fn starts_over(test: &str, variables: &[(&str, String)]) -> Option<String> {
    if std::env::var("SECRETREF_TEST_AGAIN").is_ok_and(|again| again == test) {
        return None;
    }
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("azure_environment::{test}"), "--nocapture"]);
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
    Some(said)
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
    std::fs::write(&path, federated().token(600)).unwrap();
    let mut variables = environment(&fake);
    variables.push(("AZURE_TENANT_ID", TENANT.into()));
    variables.push(("AZURE_CLIENT_ID", CLIENT.into()));
    variables.push(("AZURE_FEDERATED_TOKEN_FILE", path.to_string_lossy().into_owned()));
    if starts_over(NAME, &variables).await.is_some() {
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
    if starts_over(NAME, &variables).await.is_some() {
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
    if starts_over(NAME, &variables).await.is_some() {
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
    if starts_over(NAME, &variables).await.is_some() {
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

#[tokio::test]
async fn no_log_holds_a_value_or_a_credential() {
    const NAME: &str = "no_log_holds_a_value_or_a_credential";
    let fake = vault(Role::Officer).await;
    fake.put("acme--a", "canary-1");
    let mut variables = environment(&fake);
    variables.push(("RUST_BACKTRACE", "1".into()));
    if let Some(said) = starts_over(NAME, &variables).await {
        assert!(said.contains("the log is on"), "{said}");
        for secret in ["canary-", &secret(), "token-", "Bearer ", "client_secret", "authorization"] {
            assert!(!said.contains(secret), "{secret} in: {said}");
        }
        assert!(fake.count("set") > 0 && fake.count("get") > 1 && fake.count("list") > 0);
        return;
    }
    secretref::telemetry::init_logging(secretref::telemetry::LogFormat::Text, "trace").unwrap();
    tracing::debug!("the log is on");
    let with = |secret: String| {
        let url = std::env::var("SECRETREF_TEST_URL").unwrap();
        let settings =
            AzureKeyVault { vault_url: url.clone(), authority_host: Some(url), ca_ref: None, auth: Some(by_secret()) };
        let fixed = Fixed([("secret".to_owned(), secret)].into());
        try_store(settings, Some(std::env::var("SECRETREF_TEST_CA").unwrap()), Arc::new(fixed)).unwrap()
    };
    let (store, a) = (with(secret()), key("acme--a"));
    let read = store.get(&a, None).await.unwrap().unwrap();
    let write = Write { payload: read.payload.clone(), when: When::Always, content_type: None, tags: None };
    store.set(&a, &write).await.unwrap();
    println!("{read:?} {write:?} {:?}", store.list("").await.unwrap());
    println!("{:?}", store.get(&key("a/b"), None).await);
    assert!(store.restore(&a, &read.version.unwrap()).await.unwrap().is_some());
    assert!(store.delete(&a).await.unwrap());
    println!("{:?}", store.set(&a, &write).await);
    println!("{:?}", with("canary-wrong".into()).get(&a, None).await);
}

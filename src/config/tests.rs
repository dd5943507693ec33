#![allow(clippy::unwrap_used)]
use super::*;
use crate::{
    api::{CaRef, CaRefKind, SecretKeyRef},
    stores::{Credentials, Failure},
};

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn from_environment(variables: &[(&str, &str)]) -> Config {
    Config::load(None, Path::new("/"), &environment(variables)).unwrap()
}

fn fails(text: &str) -> String {
    Config::parse(Path::new("secretref.toml"), text).unwrap_err().to_string()
}

const FILE_TEXT: &str = r#"
[stores.platform]
layout = "Path"
limits = { requestsPerSecond = 10, timeout = "3s" }
[stores.platform.provider.vault]
address = "https://bao.example.com:8200"
auth.appRole = { roleId = "r", secretId.secretRef = { name = "env", key = "BAO_SECRET_ID" } }
"#;

#[test]
fn a_file_says_what_a_store_object_says() {
    let config = Config::parse(Path::new("secretref.toml"), FILE_TEXT).unwrap();
    let spec = &config.stores["platform"];
    let yaml = "
layout: Path
limits: { requestsPerSecond: 10, timeout: 3s }
provider:
  vault:
    address: https://bao.example.com:8200
    auth: { appRole: { roleId: r, secretId: { secretRef: { name: env, key: BAO_SECRET_ID } } } }
";
    assert_eq!(*spec, serde_saphyr::from_str::<ClusterSecretStoreSpec>(yaml).unwrap());
}

#[test]
fn what_is_wrong_is_named_and_no_text_of_the_file_is_repeated() {
    let typo = FILE_TEXT.replace("address =", "adress = \"x\"\naddress =");
    assert_eq!(
        fails(&typo),
        "secretref.toml: stores.platform.provider.vault.adress is not known here: correct its spelling, or remove it (see docs/stores.md)"
    );
    assert!(fails("[stores.a.provider]").contains("exactly one of"), "{}", fails("[stores.a.provider]"));
    let broken = fails("a = 1\nb = hunter2\n");
    assert!(broken.starts_with("secretref.toml line 2: ") && !broken.contains("hunter2"), "{broken}");
    let wrong = fails("[stores.a]\nlayout = \"hunter2\"\n[stores.a.provider.kubernetes]\n");
    assert!(!wrong.contains("hunter2"), "{wrong}");
}

#[test]
fn the_nearest_file_counts_and_a_named_one_must_be_there() {
    let folder = std::env::temp_dir().join(format!("secretref-config-{}", std::process::id()));
    let deep = folder.join("a/b");
    fs::create_dir_all(&deep).unwrap();
    fs::write(folder.join(FILE), FILE_TEXT).unwrap();
    let variables =
        environment(&[("VAULT_ADDR", "https://other:8200"), ("AZURE_KEY_VAULT_URL", "https://v.vault.azure.net")]);
    let config = Config::load(None, &deep, &variables).unwrap();
    assert_eq!(config.stores.keys().collect::<Vec<_>>(), ["azure", "platform"], "the file decides where its Vault is");
    let missing = Config::load(Some(&deep.join("no.toml")), &deep, &variables).unwrap_err().to_string();
    assert!(missing.contains("no.toml cannot be read"), "{missing}");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_environment_means_what_the_stores_own_tools_mean() {
    let vault = |variables: &[(&str, &str)]| {
        let config = from_environment(variables);
        config.stores.get("vault").and_then(|spec| spec.provider.vault.clone())
    };
    let address = ("VAULT_ADDR", "https://bao:8200");
    assert_eq!(vault(&[]), None);
    assert_eq!(vault(&[address, ("VAULT_ENABLED", "false")]), None);
    let found =
        vault(&[address, ("VAULT_TOKEN", "t"), ("VAULT_NAMESPACE", "ns"), ("VAULT_CACERT", "/ca.pem")]).unwrap();
    assert_eq!((found.address.as_str(), found.namespace.as_deref()), ("https://bao:8200", Some("ns")));
    let token = found.auth.token.unwrap().secret_ref;
    assert_eq!((token.name.as_str(), token.key.as_str()), ("env", "VAULT_TOKEN"));
    let from_file = vault(&[address]).unwrap().auth.token.unwrap().secret_ref;
    assert_eq!((from_file.name.as_str(), from_file.key.as_str()), ("file", "~/.vault-token"));

    let azure = |variables: &[(&str, &str)]| {
        from_environment(variables).stores["azure"].provider.azure_key_vault.clone().unwrap().auth.unwrap()
    };
    let url = ("AZURE_KEY_VAULT_URL", "https://v.vault.azure.net");
    let ids = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c")];
    assert!(azure(&[url]).developer_tools.is_some());
    assert!(azure(&[url, ids[0], ids[1], ("AZURE_CLIENT_SECRET", "s")]).client_secret.is_some());
    assert!(azure(&[url, ids[0], ids[1], ("AZURE_FEDERATED_TOKEN_FILE", "/t")]).workload_identity.is_some());

    let login = [("INFISICAL_CLIENT_ID", "i"), ("INFISICAL_CLIENT_SECRET", "s")];
    let project = [("INFISICAL_PROJECT_ID", "p"), ("INFISICAL_ENVIRONMENT", "dev")];
    let api = ("INFISICAL_API_URL", "https://inf.example.com/api");
    let config = from_environment(&[login[0], login[1], project[0], project[1], api]);
    let infisical = config.stores["infisical"].provider.infisical.clone().unwrap();
    assert_eq!(infisical.host_url, "https://inf.example.com");
    let half = Config::load(None, Path::new("/"), &environment(&project)).unwrap_err().to_string();
    assert!(half.contains("INFISICAL_CLIENT_ID"), "{half}");
}

#[tokio::test]
async fn credentials_are_variables_and_files() {
    let file = std::env::temp_dir().join(format!("secretref-token-{}", std::process::id()));
    fs::write(&file, "canary-file\n").unwrap();
    let home = file.parent().unwrap().to_str().unwrap();
    let credentials = LocalCredentials::new(environment(&[("TOKEN", "canary-variable"), ("HOME", home)]));
    let get = async |name: &str, key: &str| {
        let source = SecretKeyRef { name: name.into(), namespace: None, key: key.into() };
        credentials.secret(&source).await
    };
    assert_eq!(get("env", "TOKEN").await.unwrap().expose(), b"canary-variable");
    let name = file.file_name().unwrap().to_str().unwrap();
    assert_eq!(get("file", &format!("~/{name}")).await.unwrap().expose(), b"canary-file");
    for (kind, key, failure) in
        [("env", "NONE", Failure::NotReady), ("file", "/none", Failure::NotReady), ("x", "y", Failure::Misconfigured)]
    {
        let error = get(kind, key).await.unwrap_err();
        assert_eq!(error.failure, failure);
        assert!(error.message.contains(": "), "{error}");
    }
    let ca =
        CaRef { kind: CaRefKind::Secret, name: "file".into(), namespace: None, key: file.to_str().unwrap().into() };
    assert_eq!(credentials.ca_bundle(&ca).unwrap(), "canary-file");
    assert!(!format!("{credentials:?}").contains("canary"));
    fs::remove_file(&file).unwrap();
}

#[test]
fn a_length_of_time_that_is_none_is_named() {
    for (field, line) in [
        ("limits.timeout", "limits.timeout = \"3x\""),
        ("limits.minRefreshInterval", "limits.minRefreshInterval = \"soon\""),
        ("cache.ttl", "cache.ttl = \"5\""),
        ("healthCheckInterval", "healthCheckInterval = \"-1s\""),
    ] {
        let text = FILE_TEXT.replace("limits = { requestsPerSecond = 10, timeout = \"3s\" }", line);
        let told = fails(&text);
        assert!(told.contains(&format!("stores.platform.{field} is no length of time")), "{told}");
    }
}

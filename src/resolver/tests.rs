#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use crate::api::Reason;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("secretref-resolver-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const REFERENCE: &str = "apiVersion: secretref.dev/v1alpha1\nkind: SecretReference\nmetadata: { name: app }\nspec:\n  storeRef: { name: platform }\n  data:\n";

fn configuration(entries: &str) -> Vec<Configuration> {
    Configuration::parse("app.yaml", &format!("{REFERENCE}{entries}")).unwrap()
}

/// A resolver without a store; what it says.
fn offline(
    folder: &Folder,
    variables: &[(&str, &str)],
    dotenv: &str,
    configuration: Vec<Configuration>,
) -> (Resolver, Arc<Mutex<Vec<String>>>) {
    std::fs::write(folder.0.join(".env"), dotenv).unwrap();
    let environment: Environment = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let ear = Arc::clone(&heard);
    let mut options = Options::new(&environment);
    options.env_file = folder.0.join(".env");
    options.listener = Some(Arc::new(move |text| ear.lock().unwrap().push(text.to_owned())));
    let config = Config::load(None, &folder.0, &environment).unwrap();
    (Resolver::new(config, &environment, configuration, options), heard)
}

fn acme() -> Org {
    Org::new("acme-corp").unwrap()
}

async fn text(resolver: &Resolver, key: &str) -> Result<String, ResolveError> {
    resolver.get_config(&acme(), key).await.map(|v| v.value().expose_str().unwrap().to_owned())
}

#[tokio::test]
async fn local_values_in_their_order() {
    let entry = "  - { key: PW, secretRef: { name: db-password } }\n";
    let all = [("ACME_CORP__DB_PASSWORD", "canary-1"), ("GLOBAL__DB_PASSWORD", "canary-3")];
    for (variables, dotenv, expected) in [
        (&all[..], "ACME_CORP__DB_PASSWORD=canary-2\nGLOBAL__DB_PASSWORD=canary-4", "canary-1"),
        (&all[1..], "ACME_CORP__DB_PASSWORD=canary-2\nGLOBAL__DB_PASSWORD=canary-4", "canary-2"),
        (&all[1..], "GLOBAL__DB_PASSWORD=canary-4", "canary-3"),
        (&[], "GLOBAL__DB_PASSWORD=canary-4", "canary-4"),
    ] {
        let folder = Folder::new();
        let (resolver, heard) = offline(&folder, variables, dotenv, configuration(entry));
        assert_eq!(text(&resolver, "PW").await.unwrap(), expected);
        assert_eq!(text(&resolver, "PW").await.unwrap(), expected);
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 1, "one notice: {heard:?}");
        assert!(heard[0].contains("__DB_PASSWORD in ") && !heard[0].contains("canary"), "{heard:?}");
    }
}

#[tokio::test]
async fn in_production_nothing_local_counts() {
    let entry = "  - { key: PW, secretRef: { name: db-password } }\n";
    let local = ("ACME_CORP__DB_PASSWORD", "canary-1");
    for production in [("SECRETREF_ENV", "production"), ("KUBERNETES_SERVICE_HOST", "10.0.0.1")] {
        let folder = Folder::new();
        let (resolver, heard) = offline(&folder, &[local, production], "", configuration(entry));
        let error = text(&resolver, "PW").await.unwrap_err();
        assert_eq!(error.reason, Reason::StoreNotReady, "{error:?}");
        assert!(heard.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn missing_everywhere_names_the_key_every_place_and_where_to_put_it() {
    let folder = Folder::new();
    let entry = "  - { key: PW, secretRef: { name: db-password } }\n";
    let (resolver, _) = offline(&folder, &[("ACME_CORP__DB_PASSWROD", "canary-1")], "", configuration(entry));
    let error = text(&resolver, "PW").await.unwrap_err();
    assert_eq!(error.reason, Reason::SecretNotFound);
    for part in [
        "PW:",
        "ACME_CORP__DB_PASSWORD or GLOBAL__DB_PASSWORD",
        ".env",
        "no store is configured",
        "put ACME_CORP__DB_PASSWORD=... into",
    ] {
        assert!(error.message.contains(part), "no {part:?} in {}", error.message);
    }
    assert_eq!(error.hint.as_deref(), Some("did you mean db-passwrod?"));
    assert!(!format!("{error:?}").contains("canary"));
    let whole = "spec:\n  storeRef: { name: s }\n  dataFrom: [{ extract: { name: database } }]\n";
    let whole = REFERENCE.split_once("spec:").unwrap().0.to_owned() + whole;
    let (extracts, _) = offline(&folder, &[], "", Configuration::parse("app.yaml", &whole).unwrap());
    let error = text(&extracts, "username").await.unwrap_err();
    assert!(error.message.contains("extract: database found nowhere: ACME_CORP__DATABASE or"), "{error}");
    let unknown = text(&resolver, "PX").await.unwrap_err();
    assert!(unknown.message.contains("did you mean PW?"), "{unknown}");
}

#[tokio::test]
async fn names_that_meet_in_one_variable_are_an_error() {
    let folder = Folder::new();
    let entries =
        "  - { key: A, secretRef: { name: db-password } }\n  - { key: B, secretRef: { name: db_password } }\n";
    let (resolver, _) = offline(&folder, &[("GLOBAL__DB_PASSWORD", "canary-1")], "", configuration(entries));
    let org = acme();
    let error = resolver.resolve(&org, &resolver.configurations()[0]).await.err().unwrap();
    assert_eq!(error.reason, Reason::InvalidReference);
    assert!(error.message.contains("meet in GLOBAL__DB_PASSWORD"), "{error}");
}

#[tokio::test]
async fn what_production_would_refuse_is_refused_here() {
    let folder = Folder::new();
    let entries = "  - { key: E, secretRef: { name: empty } }\n  - { key: J, secretRef: { name: json, property: a.b } }\n  - { key: M, secretRef: { name: json, property: c } }\n  - { key: O, secretRef: { name: none, optional: true } }\n  - { key: X, secretRef: { name: text, decode: Base64 } }\n  - { key: P, value: \"30\" }\n";
    let variables = [
        ("ACME_CORP__EMPTY", ""),
        ("ACME_CORP__JSON", r#"{"a":{"b":"canary-b"}}"#),
        ("GLOBAL__TEXT", "canary not base64!"),
        ("ACME_CORP__P", "31"),
    ];
    let (resolver, _) = offline(&folder, &variables, "", configuration(entries));
    assert_eq!(text(&resolver, "J").await.unwrap(), "canary-b");
    assert_eq!(text(&resolver, "P").await.unwrap(), "31");
    for (key, reason) in [
        ("E", Reason::SecretEmpty),
        ("M", Reason::PropertyNotFound),
        ("O", Reason::SecretNotFound),
        ("X", Reason::PropertyNotFound),
    ] {
        let error = text(&resolver, key).await.unwrap_err();
        assert_eq!(error.reason, reason, "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error}");
    }
}

#[tokio::test]
async fn prefixes_and_structured_values_are_found_among_local_ones_too() {
    let folder = Folder::new();
    let text = format!(
        "{}  dataFrom:\n  - find: {{ prefix: payments-, keyCase: ScreamingSnake }}\n  - extract: {{ name: database }}\n",
        REFERENCE.replace("  data:\n", "")
    );
    let variables = [
        ("ACME_CORP__PAYMENTS_KEY", "canary-own"),
        ("GLOBAL__PAYMENTS_KEY", "canary-hidden"),
        ("GLOBAL__PAYMENTS_URL", "canary-url"),
        ("GLOBAL__DATABASE", r#"{"user":"canary-user"}"#),
        ("BETA__PAYMENTS_OTHER", "canary-beta"),
    ];
    let configuration = Configuration::parse("app.yaml", &text).unwrap();
    let (resolver, _) = offline(&folder, &variables, "", configuration);
    let org = acme();
    let resolution = resolver.resolve(&org, &resolver.configurations()[0]).await.unwrap();
    let data: Vec<_> = resolution.resolved.data.iter().map(|(k, v)| (k.as_str(), v.expose_str().unwrap())).collect();
    assert_eq!(data, [("PAYMENTS_KEY", "canary-own"), ("PAYMENTS_URL", "canary-url"), ("user", "canary-user")]);
}

#[tokio::test]
async fn a_store_that_is_down_leaves_local_values_and_one_warning() {
    let folder = Folder::new();
    let entries = "  - { key: A, secretRef: { name: a } }\n  - { key: B, secretRef: { name: b } }\n";
    let variables = [("ACME_CORP__A", "canary-a"), ("VAULT_ADDR", "http://127.0.0.1:9"), ("VAULT_TOKEN", "canary-t")];
    let (resolver, heard) = offline(&folder, &variables, "", configuration(entries));
    assert_eq!(text(&resolver, "A").await.unwrap(), "canary-a");
    assert_eq!(heard.lock().unwrap().len(), 1, "the store is not asked for what is local");
    let error = text(&resolver, "B").await.unwrap_err();
    assert_eq!(error.reason, Reason::SecretNotFound);
    assert!(error.message.contains("gave no answer (StoreUnavailable)"), "{error}");
    let heard = heard.lock().unwrap();
    assert!(heard[1].contains("store vault is left out") && !heard[1].contains("canary"), "{heard:?}");
}

#[tokio::test]
async fn several_stores_have_to_be_chosen_from() {
    let folder = Folder::new();
    let toml =
        "[stores.one.provider.kubernetes]\nnamespace = \"a\"\n[stores.two.provider.kubernetes]\nnamespace = \"b\"\n";
    std::fs::write(folder.0.join("secretref.toml"), toml).unwrap();
    let (resolver, _) = offline(&folder, &[], "", configuration("  - { key: A, secretRef: { name: a } }\n"));
    let error = text(&resolver, "A").await.unwrap_err();
    assert!(error.message.contains("there is no store platform here") && error.message.contains("one, two"), "{error}");
}

#[tokio::test]
async fn a_future_that_is_dropped_half_way_leaves_nothing_behind() {
    let folder = Folder::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let entries = "  - { key: A, secretRef: { name: a } }\n  - { key: B, secretRef: { name: b } }\n";
    let variables = [("VAULT_ADDR", address.as_str()), ("VAULT_TOKEN", "canary-t"), ("ACME_CORP__B", "canary-b")];
    let (resolver, _) = offline(&folder, &variables, "", configuration(entries));
    for _ in 0..3 {
        // A server that never answers.
        let asked = tokio::time::timeout(Duration::from_millis(50), text(&resolver, "A")).await;
        assert!(asked.is_err());
    }
    assert_eq!(text(&resolver, "B").await.unwrap(), "canary-b");
}

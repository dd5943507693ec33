//! Environment variables and a `.env` file.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use secretref::{
    api::Capabilities,
    naming::{Org, Owner, Scheme},
    stores::{Failure, Payload, Store, When, local::Local},
};

use crate::{
    env::{error, key},
    writes::{single, value, write},
};

/// A directory for one test; it goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("secretref-local-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join(".env")
    }

    fn write(&self, text: &str) {
        fs::write(self.file(), text).unwrap();
    }

    /// As if it had been written a while ago.
    fn settle(&self, seconds: u64) {
        let file = File::options().append(true).open(self.file()).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn variables(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn environment_before_file() {
    let folder = Folder::new("order");
    folder.write(
        "ACME__A=canary-file\nACME__B=\"canary-b\n\"\nGLOBAL__A=canary-global\nPATH=canary-path\nACME__EMPTY=\n",
    );
    let environment = variables(&[("ACME__A", "canary-env"), ("ACME_CORP__A", "canary-corp"), ("HOME", "canary-home")]);
    let store = Local::new(environment, Some(folder.file()));
    for (name, expected) in [
        ("ACME__A", Some("canary-env")),
        ("ACME__B", Some("canary-b\n")),
        ("ACME_CORP__A", Some("canary-corp")),
        ("GLOBAL__A", Some("canary-global")),
        ("ACME__EMPTY", Some("")),
        ("ACME__C", None),
        // Not a key of anybody: what else is in an environment is none of a reference's business.
        ("HOME", None),
        ("PATH", None),
    ] {
        assert_eq!(value(&store, name).await.as_deref(), expected, "{name}");
    }
    let stored = store.get(&key("ACME__A"), None).await.unwrap().unwrap();
    assert_eq!((&stored.payload, stored.version), (&single("canary-env"), None));
    assert_eq!(store.get(&key("ACME__A"), None).await.unwrap().unwrap().token, stored.token);
    assert!(!stored.token.as_str().contains("canary"));
    assert_eq!(store.list("ACME__").await.unwrap(), [key("ACME__A"), key("ACME__B"), key("ACME__EMPTY")]);
    assert_eq!(store.list("ACME__B").await.unwrap(), [key("ACME__B")]);
    assert_eq!(store.probe().await.unwrap(), Capabilities { get: true, list: true, write: false });
    assert!(store.metadata(&key("ACME__A")).await.unwrap().is_some());
    assert_eq!(store.metadata(&key("ACME__C")).await.unwrap(), None);
}

/// A name finds its variable, and what is listed leads back to the name.
#[tokio::test]
async fn names() {
    let store = Local::new(
        variables(&[
            ("ACME_CORP__DB_PASSWORD", "canary-1"),
            ("ACME__CORP_DB_PASSWORD", "canary-2"),
            ("GLOBAL__DB_PASSWORD", "canary-3"),
        ]),
        None,
    );
    let scheme = Scheme::ENVIRONMENT;
    let of = async |owner: &Owner, name: &str| {
        let wanted = scheme.key(owner, &scheme.name(name).unwrap()).unwrap();
        value(&store, wanted.as_str()).await
    };
    let (acme, corp) = (Owner::Org(Org::new("acme").unwrap()), Owner::Org(Org::new("acme-corp").unwrap()));
    assert_eq!(of(&corp, "db-password").await.as_deref(), Some("canary-1"));
    assert_eq!(of(&acme, "corp-db-password").await.as_deref(), Some("canary-2"));
    assert_eq!(of(&Owner::Global, "db-password").await.as_deref(), Some("canary-3"));
    assert_eq!(of(&acme, "db-password").await, None);
    let listed = store.list(&scheme.scope_prefix(&acme)).await.unwrap();
    let names: Vec<_> = listed.iter().filter_map(|key| scheme.parse(&acme, key.as_str())).collect();
    assert_eq!(names, [scheme.name("corp-db-password").unwrap()]);
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let folder = Folder::new("changes");
    let store = Local::new([], Some(folder.file()));
    assert_eq!(value(&store, "ACME__A").await, None, "no file, no values");
    store.probe().await.unwrap();
    folder.write("ACME__A=canary-1\n");
    assert_eq!(value(&store, "ACME__A").await.as_deref(), Some("canary-1"));
    // Of the same length, within one tick of the clock of files.
    let modified = fs::metadata(folder.file()).unwrap().modified().unwrap();
    folder.write("ACME__A=canary-2\n");
    File::options().append(true).open(folder.file()).unwrap().set_modified(modified).unwrap();
    assert_eq!(value(&store, "ACME__A").await.as_deref(), Some("canary-2"));
    folder.settle(600);
    assert_eq!(value(&store, "ACME__A").await.as_deref(), Some("canary-2"));
    folder.write("ACME__A=canary-3\n");
    folder.settle(300);
    let first = store.get(&key("ACME__A"), None).await.unwrap().unwrap();
    assert_eq!(first.payload, single("canary-3"));
    folder.write("ACME__A=canary-3\n# a comment is no change of a value\n");
    assert_eq!(store.get(&key("ACME__A"), None).await.unwrap().unwrap().token, first.token);
    fs::remove_file(folder.file()).unwrap();
    assert_eq!(value(&store, "ACME__A").await, None);
}

#[tokio::test]
async fn a_file_that_is_none() {
    let folder = Folder::new("bad");
    let store = Local::new(variables(&[("ACME__ENV", "canary-env")]), Some(folder.file()));
    let path = folder.file().display().to_string();
    for (text, line) in [
        ("ACME__A=canary-1\ncanary-no-equals\n", "line 2 of "),
        ("\nACME__A=\"canary-1\n\n", "line 2 of "),
        ("ACME__A=\"canary\n-1\" canary-2\n", "line 1 of "),
        ("ACME__A='canary-1'\nACME__B=\"\\q\"", "line 2 of "),
    ] {
        folder.write(text);
        let failed = error(store.probe().await, Failure::Misconfigured, line);
        assert!(failed.message.contains(&path), "{failed}");
        error(store.get(&key("ACME__A"), None).await, Failure::Misconfigured, line);
        error(store.list("ACME__").await, Failure::Misconfigured, line);
        assert_eq!(
            value(&store, "ACME__ENV").await.as_deref(),
            Some("canary-env"),
            "the environment is not the file's"
        );
    }
    fs::write(folder.file(), b"ACME__A=canary-\xff\n").unwrap();
    error(store.probe().await, Failure::Misconfigured, "not UTF-8");
    folder.write(&format!("ACME__A={}", "x".repeat((1 << 20) + 1)));
    error(store.probe().await, Failure::Misconfigured, "1 MiB");
    // A folder where the file should be cannot be read, whoever asks.
    fs::remove_file(folder.file()).unwrap();
    fs::create_dir(folder.file()).unwrap();
    error(store.probe().await, Failure::Misconfigured, "cannot be read");
    fs::remove_dir(folder.file()).unwrap();
    folder.write("ACME__A=canary-1\n");
    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(folder.file()).is_err() {
        error(store.probe().await, Failure::Misconfigured, "cannot be read");
    }
    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(value(&store, "ACME__A").await.as_deref(), Some("canary-1"), "mended, it is read");
}

#[tokio::test]
async fn it_is_read_only() {
    let store = Local::new(variables(&[("ACME__A", "canary-1")]), None);
    let wanted = key("ACME__A");
    let features = store.features();
    assert!(!(features.write || features.versions || features.undelete || features.maps));
    error(store.set(&wanted, &write(single("canary-2"), When::Always)).await, Failure::Misconfigured, "only read");
    error(store.delete(&wanted).await, Failure::Misconfigured, "only read");
    error(store.restore(&wanted, "1").await, Failure::Misconfigured, "only read");
    error(store.versions(&wanted).await, Failure::Misconfigured, "local values have none");
    error(store.get(&wanted, Some("1")).await, Failure::Misconfigured, "remove secretRef.version");
    let Payload::Single(kept) = store.get(&wanted, None).await.unwrap().unwrap().payload else { panic!() };
    assert_eq!(kept.expose_str(), Some("canary-1"));
}

//! The stores that are none of Vault's kind, from `secretref.toml` and from the environment: fakes of Key Vault and
//! Infisical, and the binary as its users have it.

use crate::{
    fakes::{
        FakeInfisical, FakeKeyVault, Role,
        infisical::{self, PROJECT, Release},
        key_vault::{CLIENT, TENANT},
    },
    laptop::Laptop,
};

const ENTRIES: [&str; 2] =
    ["{ key: DB_PASSWORD, secretRef: { name: db-password } }", "{ key: SHARED, secretRef: { name: shared } }"];
const ASKED: [&str; 5] = ["--no-local", "--org", "acme", "-f", "app.yaml"];

/// What production would give, as a command has it, and where it came from; and what is told of what is not there.
fn gives_what_production_would(laptop: &Laptop, org: &str, global: &str) {
    let print = ["--", "sh", "-c", "echo $DB_PASSWORD $SHARED"];
    let out = laptop.secretref(&[&["run"], &ASKED[..], &print].concat());
    assert_eq!(out, "canary-own canary-shared\n");
    let out = laptop.secretref(&[&["explain"], &ASKED[..]].concat());
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(&format!("1. {org} Found")), "no {org} in {out}");
    assert!(words.contains(&format!("2. {global} Found")), "no {global} in {out}");
    assert!(!out.contains("canary"), "{out}");
    laptop.reference(&["{ key: GONE, secretRef: { name: gone } }"]);
    let told = laptop.fails(1, &[&["get", "GONE"], &ASKED[..]].concat());
    assert!(told.contains("SecretNotFound: GONE:"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_vault() {
    let fake = FakeKeyVault::start().await;
    fake.role(CLIENT, Role::User);
    fake.client_secret(CLIENT, "canary-login");
    fake.put("acme--db-password", "canary-own");
    fake.put("GLOBAL--db-password", "canary-hidden");
    fake.put("GLOBAL--shared", "canary-shared");
    let laptop = Laptop::new().set("AZURE_CLIENT_SECRET", "canary-login");
    laptop.write("ca.crt", &fake.ca());
    let url = fake.url();
    laptop.write(
        "secretref.toml",
        &format!(
            "[stores.platform.provider.azureKeyVault]\nvaultUrl = \"{url}\"\nauthorityHost = \"{url}\"\n\
             caRef = {{ kind = \"Secret\", name = \"file\", key = \"ca.crt\" }}\n\
             [stores.platform.provider.azureKeyVault.auth.clientSecret]\ntenantId = \"{TENANT}\"\nclientId = \"{CLIENT}\"\n\
             clientSecret.secretRef = {{ name = \"env\", key = \"AZURE_CLIENT_SECRET\" }}\n"
        ),
    );
    laptop.reference(&ENTRIES);
    gives_what_production_would(&laptop, "acme--db-password", "GLOBAL--shared");
    let table = laptop.secretref(&["stores"]);
    assert!(table.contains("azureKeyVault") && table.contains("Healthy"), "{table}");
    // A login that does not count any more is named, with what to do.
    let laptop = laptop.set("AZURE_CLIENT_SECRET", "canary-wrong");
    laptop.reference(&ENTRIES);
    let told = laptop.fails(3, &[&["get", "DB_PASSWORD"], &ASKED[..]].concat());
    assert!(told.contains("AuthenticationFailed"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn infisical() {
    for release in [Release::October2024, Release::Current] {
        let fake = FakeInfisical::start(release).await;
        let identity = fake.identity(infisical::Role::Viewer);
        fake.put("/acme", "DB_PASSWORD", "canary-own");
        fake.put("/GLOBAL", "SHARED", "canary-shared");
        let laptop = Laptop::new()
            .set("INFISICAL_CLIENT_ID", &identity.client_id)
            .set("INFISICAL_CLIENT_SECRET", &identity.client_secret);
        laptop.write("ca.crt", &fake.served.ca);
        laptop.write(
            "secretref.toml",
            &format!(
                "[stores.platform.provider.infisical]\nhostUrl = \"{}\"\nprojectId = \"{PROJECT}\"\nenvironment = \"dev\"\n\
                 caRef = {{ kind = \"Secret\", name = \"file\", key = \"ca.crt\" }}\n\
                 [stores.platform.provider.infisical.auth.universalAuth]\n\
                 clientId.secretRef = {{ name = \"env\", key = \"INFISICAL_CLIENT_ID\" }}\n\
                 clientSecret.secretRef = {{ name = \"env\", key = \"INFISICAL_CLIENT_SECRET\" }}\n",
                fake.address()
            ),
        );
        laptop.reference(&ENTRIES);
        gives_what_production_would(&laptop, "acme/DB_PASSWORD", "GLOBAL/SHARED");
    }
}

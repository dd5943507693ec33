//! `secretref get`: one value, wherever it is kept.

use serde_json::json;

use crate::{
    harness::Bao,
    laptop::{BINARY, Laptop, said},
};

const PW: &str = "{ key: DB_PASSWORD, secretRef: { name: db-password } }";
const GET: [&str; 6] = ["get", "DB_PASSWORD", "--org", "acme", "-f", "app.yaml"];

#[test]
fn plain_and_typed_values_come_bare() {
    let laptop = Laptop::new();
    laptop.write(
        "config.yaml",
        "TIMEOUT: { int: 30 }\nDEBUG: { bool: false }\nNAME: { string: \"pay ments\" }\nLIMITS: { json: { a: [1, 2] } }\nPW: { secret_ref: db-password }\n",
    );
    let laptop = laptop.set("ACME__DB_PASSWORD", "canary-local");
    let get = |key: &str| laptop.secretref(&["get", key, "--org", "acme"]);
    assert_eq!(
        ["TIMEOUT", "DEBUG", "NAME", "LIMITS", "PW"].map(get),
        ["30", "false", "pay ments", r#"{"a":[1,2]}"#, "canary-local"]
    );
    let laptop = laptop.set("ACME__TIMEOUT", "canary-thirty");
    let told = laptop.fails(1, &["get", "TIMEOUT", "--org", "acme"]);
    assert!(told.contains("ACME__TIMEOUT in the environment is no int"), "{told}");
}

/// A terminal shows a secret only when told to.
#[test]
fn a_secret_goes_to_a_terminal_only_when_revealed() {
    let laptop = Laptop::new().set("ACME__DB_PASSWORD", "canary-shown");
    laptop.reference(&[PW, "{ key: PLAIN, value: visible }"]);
    let on_terminal = |args: &[&str]| {
        let line = format!("{BINARY} {}", args.join(" "));
        said(laptop.command("script", &["-qec", &line, "/dev/null"]).output().unwrap())
    };
    let hidden = on_terminal(&GET);
    assert_eq!(hidden.code, Some(1), "{hidden:?}");
    assert!(hidden.out.contains("add --reveal") && !hidden.out.contains("canary"), "{hidden:?}");
    let shown = on_terminal(&[&GET[..], &["--reveal"]].concat());
    assert!(shown.out.contains("canary-shown"), "{shown:?}");
    let plain = on_terminal(&["get", "PLAIN", "--org", "acme", "-f", "app.yaml"]);
    assert!(plain.out.contains("visible"), "{plain:?}");
}

#[tokio::test]
async fn the_store_gives_what_is_not_local_the_organisation_first() {
    let bao = Bao::new().await;
    bao.put("acme--db-password", json!({ "value": "canary-own" })).await;
    bao.put("GLOBAL--db-password", json!({ "value": "canary-hidden" })).await;
    bao.put("GLOBAL--api-key", json!({ "value": "canary-global" })).await;
    let laptop = Laptop::with(&bao).await;
    laptop.reference(&[PW, "{ key: API_KEY, secretRef: { name: api-key } }"]);
    let said = laptop.try_secretref(&GET);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("canary-own", ""), "no notice where nothing is local");
    assert_eq!(laptop.secretref(&["get", "API_KEY", "--org", "acme", "-f", "app.yaml"]), "canary-global");
    // Without a file, by its bare name.
    assert_eq!(laptop.secretref(&["get", "db-password", "--org", "acme"]), "canary-own");

    // A local one wins, with one notice; not in production.
    let laptop = laptop.set("GLOBAL__DB_PASSWORD", "canary-local");
    let said = laptop.try_secretref(&GET);
    assert_eq!(said.out, "canary-local");
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    assert!(
        said.err.contains("GLOBAL__DB_PASSWORD in the environment") && !said.err.contains("canary"),
        "{}",
        said.err
    );
    assert_eq!(laptop.secretref(&[&GET[..], &["--no-local"]].concat()), "canary-own");
    let laptop = laptop.set("SECRETREF_ENV", "production");
    assert_eq!(laptop.secretref(&GET), "canary-own");
}

#[tokio::test]
async fn a_mistyped_name_suggests_the_nearest_one() {
    let bao = Bao::new().await;
    bao.put("acme--db-password", json!({ "value": "canary-own" })).await;
    let laptop = Laptop::with(&bao).await;
    laptop.reference(&["{ key: PW, secretRef: { name: db-pasword } }"]);
    let told = laptop.fails(1, &["get", "PW", "--org", "acme", "-f", "app.yaml"]);
    for part in [
        "SecretNotFound: PW:",
        "ACME__DB_PASWORD or GLOBAL__DB_PASWORD",
        "in .env",
        "store vault has no acme--db-pasword and no GLOBAL--db-pasword",
        "put ACME__DB_PASWORD=... into .env",
        "hint: did you mean db-password?",
    ] {
        assert!(told.contains(part), "no {part:?} in {told}");
    }
    let told = laptop.fails(1, &["get", "PWW", "--org", "acme", "-f", "app.yaml"]);
    assert!(told.contains("did you mean PW?"), "{told}");
}

/// Rule 3 on a laptop: an error is not "not there", and a store that is down is told as such.
#[tokio::test]
async fn what_the_store_refuses_never_falls_back() {
    let bao = Bao::new().await;
    bao.put("GLOBAL--db-password", json!({ "value": "canary-global" })).await;
    bao.policy("global-only", r#"path "secret/data/GLOBAL--*" { capabilities = ["read"] }"#).await;
    let laptop = Laptop::with(&bao).await.set("VAULT_TOKEN", &bao.token(&["global-only"]).await);
    laptop.reference(&[PW]);
    let told = laptop.fails(3, &GET);
    assert!(told.contains("PermissionDenied") && told.contains("acme--db-password"), "{told}");
}

#[tokio::test]
async fn a_store_that_is_down_or_rejects_the_login_leaves_local_values() {
    let bao = Bao::new().await;
    bao.put("acme--db-password", json!({ "value": "canary-own" })).await;
    let rejected = Laptop::with(&bao).await.set("VAULT_TOKEN", "canary-token");
    let down = Laptop::new().set("VAULT_ADDR", "https://127.0.0.1:9").set("VAULT_TOKEN", "canary-token");
    for (laptop, reason) in [(rejected, "AuthenticationFailed"), (down, "StoreUnavailable")] {
        let laptop = laptop.set("ACME__LOCAL", "canary-local");
        laptop.reference(&[
            PW,
            "{ key: LOCAL, secretRef: { name: local } }",
            "{ key: O, secretRef: { name: o, optional: true } }",
        ]);
        assert_eq!(laptop.secretref(&["get", "LOCAL", "--org", "acme", "-f", "app.yaml"]), "canary-local");
        let told = laptop.fails(1, &GET);
        assert!(told.contains("store vault is left out") && told.contains(reason), "{told}");
        assert!(told.contains("put ACME__DB_PASSWORD=... into .env"), "{told}");
        // Without local values it is the store's failure, and the exit code says so.
        let told = laptop.fails(3, &[&GET[..], &["--no-local"]].concat());
        assert!(told.contains(&format!("{reason}: ")) && told.contains("hint: store vault: "), "{told}");
        let laptop = laptop.set("VAULT_ENABLED", "false");
        let told = laptop.fails(1, &GET);
        assert!(told.contains("no store is configured") && !told.contains("left out"), "{told}");
    }
}

#[test]
fn what_is_wrong_with_the_question_is_told() {
    let laptop = Laptop::new();
    laptop.reference(&[PW, "{ key: BAD, secretRef: { name: canary--scoped } }"]);
    let told = laptop.fails(1, &GET);
    assert!(told.contains("app.yaml:8: spec.data[1].secretRef.name"), "{told}");
    assert!(laptop.fails(2, &["get", "A"]).contains("--org"));
    assert!(laptop.fails(2, &["get", "A", "--org", "GLOBAL"]).contains("--org"));
    assert!(laptop.fails(1, &["get", "A", "--org", "acme", "-f", "none.yaml"]).contains("none.yaml: cannot be read"));
    laptop.write(".env", "ACME__A\n");
    assert!(laptop.fails(3, &["get", "a", "--org", "acme"]).contains("line 1 of .env has no '='"));
}

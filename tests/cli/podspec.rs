//! `secretref podspec`: golden texts, without a store, without a value.

use crate::laptop::Laptop;

fn laptop() -> Laptop {
    let laptop = Laptop::new().set("ACME__DB_PASSWORD", "canary-never");
    laptop.write(
        "app.yaml",
        "apiVersion: secretref.dev/v1alpha1\nkind: SecretReference\nmetadata: { name: app }\nspec:\n  storeRef: { name: s }\n  target: { name: app-env }\n  data:\n    - { key: DB_PASSWORD, secretRef: { name: db-password } }\n    - { key: TOKEN, secretRef: { name: token, optional: true } }\n    - { key: TIMEOUT, value: canary-plain }\n",
    );
    laptop
}

#[test]
fn for_everyone_who_asks() {
    let laptop = laptop();
    let podspec = |more: &[&str]| laptop.secretref(&[&["podspec", "-f", "app.yaml"], more].concat());
    assert_eq!(podspec(&[]), "envFrom:\n  - secretRef:\n      name: \"app-env\"\n");
    assert_eq!(
        podspec(&["--format", "env", "--key", "TOKEN"]),
        "env:\n  - name: \"TOKEN\"\n    valueFrom:\n      secretKeyRef:\n        name: \"app-env\"\n        key: \"TOKEN\"\n        optional: true\n"
    );
    assert_eq!(
        podspec(&["--format", "dbt"]),
        "DB_PASSWORD: \"{{ env_var('DB_PASSWORD') }}\"\nTOKEN: \"{{ env_var('TOKEN') }}\"\nTIMEOUT: \"{{ env_var('TIMEOUT') }}\"\n"
    );
    assert_eq!(
        podspec(&["--format", "shell", "--key", "DB_PASSWORD", "--key", "TIMEOUT"]),
        "DB_PASSWORD=\"${DB_PASSWORD:?DB_PASSWORD is not set}\"\nTIMEOUT=\"${TIMEOUT:?TIMEOUT is not set}\"\n"
    );
    assert_eq!(
        podspec(&["--format", "compose", "--key", "TIMEOUT"]),
        "environment:\n  TIMEOUT: \"${TIMEOUT:?TIMEOUT is not set}\"\n"
    );
    assert_eq!(podspec(&["--format", "systemd"]), "[Service]\nPassEnvironment=DB_PASSWORD TOKEN TIMEOUT\n");
    for format in ["envfrom", "env", "dbt", "shell", "compose", "systemd"] {
        assert!(!podspec(&["--format", format]).contains("canary"), "{format}");
    }
}

#[test]
fn sources_of_many_keys_and_keys_that_are_no_variables() {
    let laptop = laptop();
    assert!(laptop.fails(1, &["podspec", "-f", "app.yaml", "--key", "TIMOUT"]).contains("did you mean TIMEOUT?"));
    laptop.write(
        "find.yaml",
        "apiVersion: secretref.dev/v1alpha1\nkind: SecretReference\nmetadata: { name: found }\nspec:\n  storeRef: { name: s }\n  data: [{ key: tls.crt, secretRef: { name: crt } }]\n  dataFrom: [{ find: { prefix: payments- } }]\n",
    );
    let told = laptop.fails(1, &["podspec", "-f", "find.yaml", "--format", "shell"]);
    assert!(told.contains("tls.crt is no name of a variable"), "{told}");
    let out = laptop.secretref(&["podspec", "-f", "find.yaml", "--format", "dbt", "--key", "PAYMENTS_KEY"]);
    assert_eq!(out, "PAYMENTS_KEY: \"{{ env_var('PAYMENTS_KEY') }}\"\n");
    let out = laptop.secretref(&["podspec", "-f", "find.yaml", "--format", "env"]);
    assert!(out.contains("only the store knows"), "{out}");
    laptop.write("config.yaml", "A: 1\n");
    assert!(laptop.fails(1, &["podspec", "-f", "config.yaml"]).contains("has no target"));
}

//! `secretref render`: the Secret that the operator would write. That it is the same is `tests/operator/parity.rs`.

use crate::laptop::Laptop;

fn laptop() -> Laptop {
    let laptop = Laptop::new().set("ACME__DB_PASSWORD", "canary-it's \"$x\"\nend");
    laptop.write(
        "app.yaml",
        "apiVersion: secretref.dev/v1alpha1\nkind: SecretReference\nmetadata: { name: app, namespace: acme-prod }\nspec:\n  storeRef: { name: s }\n  \
         target: { name: app-env, immutable: true, metadata: { labels: { team: \"true\" } } }\n  data:\n    - { key: PW, secretRef: { name: db-password } }\n    - { key: TIMEOUT, value: \"30\" }\n",
    );
    laptop
}

const RENDER: [&str; 5] = ["render", "--org", "acme", "-f", "app.yaml"];

#[test]
fn masked_unless_revealed() {
    let laptop = laptop();
    for format in ["yaml", "env", "json", "dotenv"] {
        let out = laptop.secretref(&[&RENDER[..], &["--format", format]].concat());
        assert!(out.contains("********") && !out.contains("canary") && !out.contains("30"), "{out}");
    }
    let expected = "---\n# The operator adds its stamp and the owner reference.\napiVersion: v1\nkind: Secret\nmetadata:\n  name: \"app-env\"\n  namespace: \"acme-prod\"\n  labels:\n    \"secretref.dev/managed\": \"true\"\n    \"team\": \"true\"\ntype: \"Opaque\"\nimmutable: true\ndata:    # masked; --reveal shows the values\n  \"PW\": \"********\"\n  \"TIMEOUT\": \"********\"\n";
    assert_eq!(laptop.secretref(&RENDER), expected);
}

#[test]
fn every_format_reads_back_as_what_it_was() {
    let laptop = laptop();
    let value = "canary-it's \"$x\"\nend";
    let render = |format: &str| laptop.secretref(&[&RENDER[..], &["--reveal", "--format", format]].concat());
    let json: serde_json::Value = serde_json::from_str(&render("json")).unwrap();
    assert_eq!(json, serde_json::json!({ "PW": value, "TIMEOUT": "30" }));
    laptop.write("env.sh", &render("env"));
    let out = laptop.command("sh", &["-c", ". ./env.sh; printf %s \"$PW\""]).output().unwrap();
    assert_eq!(String::from_utf8(out.stdout).unwrap(), value);
    // A .env file of its own.
    laptop.write("resolved.env", &render("dotenv").replace("PW=", "BETA__PW="));
    let get = ["get", "pw", "--org", "beta", "--env-file", "resolved.env"];
    assert_eq!(laptop.secretref(&get), value);
    let yaml: serde_json::Value = serde_saphyr::from_str(&render("yaml")).unwrap();
    assert_eq!(yaml["data"]["TIMEOUT"], "MzA=");
}

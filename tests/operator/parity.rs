//! The same answer on a laptop: one table of cases, each resolved by the operator on the cluster and by
//! `secretref render` without it. The same data, or the same reason and the same sentence, byte for byte.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    harness::{CANARY, DEADLINE, condition, plant, reason, unique, wait_until},
    world::World,
};

/// Where a case is resolved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    /// The default layout and style.
    Flat,
    /// `{org}/{NAME}`.
    Snake,
    /// `{org}/{name}` as it is written.
    Verbatim,
    /// Organisations have no fallback.
    NoGlobal,
    /// The token may read platform-wide keys only.
    Narrow,
    /// No server.
    Nowhere,
    /// Another mount, which is not there.
    NoMount,
}

/// What the store holds for every case: key and properties.
fn stored() -> Vec<(String, Value)> {
    let v = |value: &str| json!({ "value": value });
    let big = plant("big") + &"x".repeat(400_000);
    [
        ("acme--own", v(&plant("own"))),
        ("GLOBAL--own", v(&plant("hidden"))),
        ("GLOBAL--shared", v(&plant("shared"))),
        ("beta--other", v(&plant("other"))),
        ("acme--empty", v("")),
        ("acme--null", json!({ "value": null, "there": "x" })),
        ("acme--map", json!({ "username": plant("user"), "tls.crt": plant("cert"), "n": 5432, "on": true, "none": null, "void": "" })),
        ("acme--deep", json!({ "db": { "hosts": [{ "name": plant("deep"), "port": 1 }], "o": { "b": 1, "a": [ ] } }, "value": "{\"a\": {\"b\": \"c d\"}}" })),
        ("acme--blob", json!({ "std": "aGVsbG8=", "url": "-_8", "bare": "aGk", "lines": "aGVs\nbG8=\n", "bad": plant("not base64!") })),
        ("acme--unicode", v("ü漢🔑\n\"quoted\"\t")),
        ("acme--spaces", v("  leading and trailing  ")),
        ("acme--badkey", json!({ "a b": "x" })),
        ("acme--big-a", v(&big)),
        ("acme--big-b", v(&big)),
        ("acme--big-c", v(&big)),
        ("acme--pay-url", v(&plant("url"))),
        ("GLOBAL--pay-url", v(&plant("url-hidden"))),
        ("GLOBAL--pay-key", v(&plant("key"))),
        ("acme--voids-a", v("")),
        ("acme/DB_PASSWORD", v(&plant("snake"))),
        ("GLOBAL/team/API_KEY", v(&plant("folder"))),
        ("acme/Db_Password.v1", v(&plant("verbatim"))),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// Name, where, and what the spec says besides its store.
fn cases() -> Vec<(&'static str, On, Value)> {
    use On::*;
    let one = |secret: Value| json!({ "data": [{ "key": "K", "secretRef": secret }] });
    let name = |name: &str| one(json!({ "name": name }));
    let property = |name: &str, property: &str| one(json!({ "name": name, "property": property }));
    let decoded = |property: &str| one(json!({ "name": "blob", "property": property, "decode": "Base64" }));
    let from = |sources: Value| json!({ "dataFrom": sources });
    let template = |text: &str| {
        json!({ "dataFrom": [{ "extract": { "name": "map-ok" } }], "data": [{ "key": "P", "value": "a b" }],
                "target": { "template": { "data": { "t": text } } } })
    };
    let typed = |kind: &str, data: Value| json!({ "data": data, "target": { "type": kind } });
    let own = |key: &str| json!({ "key": key, "secretRef": { "name": "own" } });
    vec![
        ("plain", Flat, json!({ "data": [{ "key": "A", "value": "a" }, { "key": "E", "value": "" }] })),
        ("plain-unicode", Flat, json!({ "data": [{ "key": "A", "value": "ü\n'\"$x" }] })),
        ("own-wins", Flat, name("own")),
        ("global-fills-in", Flat, name("shared")),
        ("missing", Flat, name("missing")),
        ("another-orgs", Flat, name("other")),
        ("two-keys-of-one", Flat, json!({ "data": [own("A"), own("B")] })),
        ("second-is-missing", Flat, json!({ "data": [own("A"), { "key": "B", "secretRef": { "name": "gone" } }] })),
        ("scope-org", Flat, one(json!({ "name": "shared", "scope": "Org" }))),
        ("scope-global", Flat, one(json!({ "name": "own", "scope": "Global" }))),
        ("scope-global-missing", Flat, one(json!({ "name": "map", "scope": "Global" }))),
        (
            "optional-missing",
            Flat,
            json!({ "data": [own("A"), { "key": "B", "secretRef": { "name": "gone", "optional": true } }] }),
        ),
        ("all-optional-missing", Flat, one(json!({ "name": "gone", "optional": true }))),
        ("empty", Flat, name("empty")),
        ("empty-optional", Flat, one(json!({ "name": "empty", "optional": true }))),
        ("empty-allowed", Flat, one(json!({ "name": "empty", "allowEmpty": true }))),
        ("null", Flat, name("null")),
        ("null-allowed-empty", Flat, one(json!({ "name": "null", "allowEmpty": true }))),
        ("property", Flat, property("map", "username")),
        ("property-with-a-dot", Flat, property("map", "tls.crt")),
        ("property-number", Flat, property("map", "n")),
        ("property-boolean", Flat, property("map", "on")),
        ("property-null", Flat, property("map", "none")),
        ("property-void", Flat, property("map", "void")),
        ("property-missing", Flat, property("map", "usrname")),
        ("bare-of-a-map", Flat, name("map")),
        ("path", Flat, property("deep", "db.hosts[0].name")),
        ("path-to-an-object", Flat, property("deep", "db.hosts[0]")),
        ("path-past-the-end", Flat, property("deep", "db.hosts[7]")),
        ("path-into-text", Flat, property("deep", "value.a.b")),
        ("json-text", Flat, name("deep")),
        ("base64", Flat, decoded("std")),
        ("base64-url-safe", Flat, decoded("url")),
        ("base64-unpadded", Flat, decoded("bare")),
        ("base64-in-lines", Flat, decoded("lines")),
        ("base64-bad", Flat, decoded("bad")),
        ("unicode", Flat, name("unicode")),
        ("spaces", Flat, name("spaces")),
        ("version", Flat, one(json!({ "name": "twice", "version": "1", "scope": "Org" }))),
        ("version-latest", Flat, name("twice")),
        ("version-missing", Flat, one(json!({ "name": "twice", "version": "9", "scope": "Org" }))),
        ("deleted", Flat, name("deleted")),
        ("deleted-fallback", Flat, name("deleted-own")),
        ("destroyed", Flat, name("destroyed")),
        ("extract", Flat, from(json!([{ "extract": { "name": "map-ok" } }]))),
        ("extract-null", Flat, from(json!([{ "extract": { "name": "map" } }]))),
        ("extract-missing", Flat, from(json!([{ "extract": { "name": "gone" } }]))),
        ("extract-bad-key", Flat, from(json!([{ "extract": { "name": "badkey" } }]))),
        ("find", Flat, from(json!([{ "find": { "prefix": "pay-" } }]))),
        ("find-screaming", Flat, from(json!([{ "find": { "prefix": "pay-", "keyCase": "ScreamingSnake" } }]))),
        ("find-nothing", Flat, from(json!([{ "find": { "prefix": "nothing-" } }]))),
        ("find-empty", Flat, from(json!([{ "find": { "prefix": "voids-" } }]))),
        (
            "two-sources-of-one-key",
            Flat,
            from(json!([{ "extract": { "name": "map-ok" } }, { "extract": { "name": "map-too" } }])),
        ),
        (
            "data-beats-sources",
            Flat,
            json!({ "data": [{ "key": "username", "value": "mine" }], "dataFrom": [{ "extract": { "name": "map-ok" } }] }),
        ),
        ("template", Flat, template("{{ username }}:{{ P | urlencode }}@{{ data[\"username\"] | b64encode }}")),
        ("template-if", Flat, template("{% if P == 'a b' %}yes{% else %}no{% endif %}")),
        ("template-unknown-key", Flat, template("{{ usrname }}")),
        ("template-unknown-filter", Flat, template("{{ username | sha1 }}")),
        ("template-broken", Flat, template("{{ username")),
        ("type-tls", Flat, typed("kubernetes.io/tls", json!([own("tls.crt"), own("tls.key")]))),
        (
            "type-basic-auth-from-source",
            Flat,
            json!({ "dataFrom": [{ "extract": { "name": "map-ok" } }], "target": { "type": "kubernetes.io/basic-auth" } }),
        ),
        (
            "type-tls-from-source",
            Flat,
            json!({ "dataFrom": [{ "extract": { "name": "map-ok" } }], "target": { "type": "kubernetes.io/tls" } }),
        ),
        ("type-of-somebody", Flat, typed("example.com/special", json!([own("A")]))),
        (
            "too-big",
            Flat,
            json!({ "data": [{ "key": "A", "secretRef": { "name": "big-a" } }, { "key": "B", "secretRef": { "name": "big-b" } }, { "key": "C", "secretRef": { "name": "big-c" } }] }),
        ),
        ("another-org-claimed", Flat, json!({ "org": "beta", "data": [own("A")] })),
        ("the-org-claimed", Flat, json!({ "org": "acme", "data": [own("A")] })),
        ("wrong-style", Flat, name("Db_Password")),
        ("snake", Snake, name("db-password")),
        ("snake-folder", Snake, name("team/api-key")),
        ("snake-missing", Snake, name("team/gone")),
        ("verbatim", Verbatim, name("Db_Password.v1")),
        ("verbatim-other-case", Verbatim, name("db_password.v1")),
        ("no-global", NoGlobal, name("shared")),
        ("no-global-own", NoGlobal, name("own")),
        ("denied", Narrow, name("own")),
        ("denied-never-falls-back", Narrow, name("shared")),
        ("denied-global-only", Narrow, one(json!({ "name": "shared", "scope": "Global" }))),
        ("unreachable", Nowhere, name("own")),
        ("no-mount", NoMount, name("own")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_and_laptop_give_the_same_answer() {
    let mut world = World::new().await;
    for (key, properties) in stored() {
        world.bao.put(&key, properties).await;
    }
    let (first, second) = (plant("first"), plant("second"));
    for value in [&first, &second] {
        world.bao.put("acme--twice", json!({ "value": value })).await;
    }
    for (key, name) in [("acme--map-ok", plant("ok")), ("acme--map-too", plant("too"))] {
        world.bao.put(key, json!({ "username": name })).await;
    }
    for key in ["acme--deleted", "acme--deleted-own", "acme--destroyed"] {
        world.bao.put(key, json!({ "value": plant("gone") })).await;
    }
    world.bao.put("GLOBAL--deleted-own", json!({ "value": plant("instead") })).await;
    world.bao.delete("acme--deleted").await;
    world.bao.delete("acme--deleted-own").await;
    world.bao.destroy("acme--destroyed", &[1]).await;
    world.bao.policy("narrow", r#"path "secret/data/GLOBAL--*" { capabilities = ["read"] }"#).await;
    let token = world.bao.token(&["reader"]).await;
    let narrow = world.bao.token(&["narrow"]).await;
    world.home.secret("narrow", &json!({ "token": narrow })).await;

    // The stores, on both sides.
    let by_narrow = world.by_token("narrow");
    let specs = [
        (On::Flat, json!({})),
        (On::Snake, json!({ "layout": "Path", "nameStyle": "ScreamingSnake" })),
        (On::Verbatim, json!({ "layout": "Path", "nameStyle": "Verbatim" })),
        (On::NoGlobal, json!({ "tenancy": { "allowGlobal": false } })),
        (On::Narrow, json!({ "provider": { "vault": { "auth": by_narrow } } })),
        (On::Nowhere, json!({ "provider": { "vault": { "address": "https://127.0.0.1:9" } } })),
        (On::NoMount, json!({ "provider": { "vault": { "mount": "no-such-mount" } } })),
    ];
    let mut stores = Vec::new();
    let mut toml = String::new();
    for (on, spec) in specs {
        let name = if on == On::Flat { world.store.clone() } else { world.add_store(spec.clone()).await };
        toml.push_str(&store_toml(&name, &world, &spec, if on == On::Narrow { "NARROW_TOKEN" } else { "TOKEN" }));
        stores.push((on, name));
    }
    let store = |on: On| stores.iter().find(|(o, _)| *o == on).unwrap().1.clone();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("parity-{}", unique()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("secretref.toml"), toml).unwrap();

    let cases = cases();
    assert!(cases.len() >= 50, "{} cases", cases.len());
    for (name, on, rest) in &cases {
        let mut spec = rest.clone();
        spec["storeRef"] = json!({ "name": store(*on) });
        spec["refreshInterval"] = json!("1s");
        let object = world.acme.reference(name, &spec).await;
        let file = json!({ "apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": { "name": name }, "spec": spec });
        std::fs::write(folder.join(format!("{name}.yaml")), serde_saphyr::to_string(&file).unwrap()).unwrap();
    }
    let mut different = Vec::new();
    for (name, _, _) in &cases {
        let file = format!("{name}.yaml");
        let command = || {
            let args = ["render", "--org", "acme", "--no-local", "--reveal", "-f", &file];
            Command::new(env!("CARGO_BIN_EXE_secretref"))
                .args(args)
                .current_dir(&folder)
                .env_clear()
                .env("TOKEN", &token)
                .env("NARROW_TOKEN", &narrow)
                .stdin(Stdio::null())
                .output()
                .unwrap()
        };
        let out = tokio::task::block_in_place(command);
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(!said.contains(CANARY), "{said}");
        let laptop = match out.status.code() {
            Some(0) => {
                let text = String::from_utf8(out.stdout).unwrap();
                let secret: Value = serde_saphyr::from_str(&text).unwrap();
                Answer::Data(secret["data"].clone(), secret["type"].clone())
            }
            // Reason and sentence, as `Synced` has them.
            _ => {
                let line = said.lines().next().unwrap_or_default().strip_prefix("secretref: ").unwrap_or_default();
                let (reason, message) = line.split_once(": ").unwrap_or((line, ""));
                Answer::Problem(reason.to_owned(), message.to_owned())
            }
        };
        // A reference of a store in trouble is told so by and by: what counts is what it settles at.
        let what = format!("{name}: the same answer as {laptop:?}");
        let same = wait_until(&what, 2 * DEADLINE, || async {
            let cluster = cluster_answer(&world, name).await;
            if cluster.as_ref() == Some(&laptop) { Ok(()) } else { Err(format!("{cluster:?}")) }
        });
        if tokio::time::timeout(DEADLINE, same).await.is_err() {
            different
                .push(format!("{name}:\n  laptop  {laptop:?}\n  cluster {:?}", cluster_answer(&world, name).await));
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(different.is_empty(), "{} of {} differ:\n{}", different.len(), cases.len(), different.join("\n"));
    world.done().await;
}

/// What was plain and is a secret now leaves nothing behind, on either side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_entry_that_becomes_a_secret_leaves_nothing_behind() {
    let world = World::new().await;
    let (old, new) = (plant("plain"), plant("secret"));
    world.bao.put("acme--key", json!({ "value": new })).await;
    world.reference("app", json!({ "data": [{ "key": "K", "value": old }] })).await;
    world.acme.until_data("app", &json!({ "K": old })).await;
    world.reference("app", json!({ "data": [{ "key": "K", "secretRef": { "name": "key" } }] })).await;
    world.acme.until_data("app", &json!({ "K": new })).await;
    let everything =
        format!("{:?} {:?}", world.acme.get("SecretReference", "app").await, world.acme.get("Secret", "app").await,);
    assert!(!everything.contains(&old), "{everything}");
    let both = json!({
        "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretReference", "metadata": { "name": "app" },
        "spec": world.spec(json!({ "data": [{ "key": "K", "value": old, "secretRef": { "name": format!("acme--{old}") } }] })),
    });
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("both-{}.yaml", unique()));
    std::fs::write(&file, both.to_string()).unwrap();
    for command in ["check", "render", "podspec"] {
        let mut run = Command::new(env!("CARGO_BIN_EXE_secretref"));
        run.arg(command).arg("-f").arg(&file).current_dir(env!("CARGO_TARGET_TMPDIR"));
        let out = tokio::task::block_in_place(|| run.output().unwrap());
        assert_eq!(out.status.code(), Some(1), "{command}: {out:?}");
        let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
        assert!(said.contains("spec.data[0]") && !said.contains(&old), "{command}: {said}");
    }
    std::fs::remove_file(&file).unwrap();
    world.done().await;
}

#[derive(Debug, PartialEq)]
enum Answer {
    /// As a Secret holds it, in base64, and its type.
    Data(Value, Value),
    Problem(String, String),
}

/// What the operator made of a reference, once it is through with it.
async fn cluster_answer(world: &World, name: &str) -> Option<Answer> {
    let reference = world.acme.get("SecretReference", name).await?;
    let synced = condition(&reference, "Synced");
    match synced["status"].as_str()? {
        "True" => {
            let secret = world.acme.get("Secret", name).await?;
            Some(Answer::Data(secret["data"].clone(), secret["type"].clone()))
        }
        _ => {
            // The breaker of a process that asks for hours is open; that of one that asks once is not.
            let message = synced["message"].as_str()?.replace(
                "the operator syncs when a probe finds it back",
                "the operator tries again, and the store's status says what is wrong",
            );
            Some(Answer::Problem(reason(&reference).to_owned(), message))
        }
    }
}

/// The same store for a laptop.
fn store_toml(name: &str, world: &World, spec: &Value, token: &str) -> String {
    let vault = &spec["provider"]["vault"];
    let text = |value: &Value, default: &str| json!(value.as_str().unwrap_or(default)).to_string();
    let mut out = format!("[stores.{name}]\n");
    for field in ["layout", "nameStyle"] {
        if let Some(value) = spec[field].as_str() {
            out.push_str(&format!("{field} = \"{value}\"\n"));
        }
    }
    if spec["tenancy"]["allowGlobal"] == false {
        out.push_str("tenancy.allowGlobal = false\n");
    }
    out.push_str(&format!(
        "[stores.{name}.provider.vault]\naddress = {}\nnamespace = {}\nmount = {}\ncaBundle = {}\nauth.token.secretRef = {{ name = \"env\", key = \"{token}\" }}\n",
        text(&vault["address"], &world.bao.address),
        json!(world.bao.namespace),
        text(&vault["mount"], "secret"),
        json!(world.bao.ca),
    ));
    out
}

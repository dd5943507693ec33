//! Rule 9: values stay inside, whatever goes wrong with them. Every test looks for what it planted when it ends; this one
//! plants where errors would quote it.

use serde_json::json;

use crate::{
    harness::{Leaks, plant},
    world::{World, secret},
};

#[tokio::test]
async fn no_error_quotes_a_value() {
    let world = World::new().await;
    let values: Vec<String> = (0..6).map(|i| plant(&format!("quoted{i}"))).collect();
    // Not JSON though it begins so, base64 that is none, bytes that break lines and quotes, a type that it is not.
    world.bao.put("acme--json", json!({ "value": format!("{{\"a\": \"{}\"", values[0]) })).await;
    world.bao.put("acme--text", json!({ "value": format!("{}\n\"\u{0}\u{7f}", values[1]) })).await;
    world.bao.put("acme--number", json!({ "value": { "nested": values[2] } })).await;
    world.bao.put("acme--docker", json!({ "value": format!("{{\"auths\": \"{}\"}}", values[3]) })).await;
    world.bao.put("acme--template", json!({ "value": values[4] })).await;
    let with = |name: &str, rest: serde_json::Value| {
        let mut secret = json!({ "name": name });
        secret.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json!({ "data": [{ "key": "K", "secretRef": secret }] })
    };
    world.reference("json", with("json", json!({ "property": "value.a" }))).await;
    world.fails("json", "PropertyNotFound", &["acme--json"]).await;
    world.reference("base64", with("text", json!({ "decode": "Base64" }))).await;
    world.fails("base64", "PropertyNotFound", &["acme--text"]).await;
    world.reference("nested", with("number", json!({ "property": "value.nested.deeper" }))).await;
    world.fails("nested", "PropertyNotFound", &["acme--number"]).await;
    let typed = json!({
        "data": [secret(".dockerconfigjson", "text")],
        "target": { "type": "kubernetes.io/dockerconfigjson" },
    });
    world.reference("docker", typed).await;
    world.fails("docker", "TargetRejected", &["docker"]).await;
    for (name, text) in [
        ("filter", "{{ K | no_such_filter }}"),
        ("call", "{{ K() }}"),
        ("index", "{{ K.a.b.c }}"),
        ("math", "{{ K / 2 }}"),
        ("raise", "{% include K %}"),
    ] {
        let mut spec = with("template", json!({}));
        spec["target"] = json!({ "template": { "data": { "url": text } } });
        world.reference(name, spec).await;
        world.fails(name, "TemplateError", &["url"]).await;
    }
    // Not of this test alone: all that was said by anyone so far, on the whole cluster.
    world.cluster.assert_no_leaks(&Leaks::new(), None).await;
    world.done().await;
}

/// What is applied holds a keyed fingerprint: the same value under the same names twice must not look the same.
#[tokio::test]
async fn equal_values_do_not_look_equal_from_outside() {
    let world = World::new().await;
    let value = plant("same");
    world.bao.put("acme--key", json!({ "value": value })).await;
    let mut stamps = Vec::new();
    for name in ["one", "two"] {
        world.reference(name, json!({ "data": [secret("KEY", "key")] })).await;
        let target = world.acme.until_data(name, &json!({ "KEY": value })).await;
        let annotations = target["metadata"]["annotations"].as_object().unwrap().clone();
        stamps.push(annotations.values().map(|v| v.as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" "));
    }
    let parts = |s: &str| s.split([':', ',', ' ']).filter(|p| p.len() >= 16).map(str::to_owned).collect::<Vec<_>>();
    // The hash of the set of fields is of public text; everything that depends on values differs.
    let (one, two) = (parts(&stamps[0]), parts(&stamps[1]));
    let shared: Vec<&String> = one.iter().filter(|p| two.contains(p)).collect();
    assert!(shared.is_empty(), "{shared:?} in both {stamps:?}");
    world.done().await;
}

//! `secretref check` judges as the API server does: every accepted manifest of the table, and what becomes of it when a
//! field is left out, emptied, or something else. The same verdict on both sides.

use secretref::manifest;
use serde_json::{Value, json};

use crate::{cases, cluster::Cluster};

#[tokio::test]
async fn the_verdicts_are_the_same() {
    let cluster = Cluster::new().await;
    let (mut judged, mut refused, mut different) = (0, 0, Vec::new());
    for manifest in cases::accepted() {
        let mut variants = vec![("as it is".to_owned(), manifest.clone())];
        vary(&manifest["spec"], "/spec", &manifest, &mut variants);
        for (what, variant) in variants {
            let mut whole = variant.clone();
            whole["apiVersion"] = json!("secretref.dev/v1alpha1");
            // JSON is YAML: the way a file takes.
            let found = manifest::read(&whole.to_string()).expect("JSON").remove(0).judge();
            let server = cluster.create(&variant, true).await;
            judged += 1;
            refused += usize::from(server.is_err());
            if found.is_empty() != server.is_ok() {
                let server = server.err().map(|status| status.message);
                different.push(format!(
                    "{} {what}: the server says {server:?}, check says {found:?}",
                    variant["metadata"]["name"]
                ));
            }
        }
    }
    cluster.done().await;
    assert!(judged > 1000 && refused > 500, "{judged} judged, {refused} refused");
    assert!(
        different.is_empty(),
        "{} of {judged} differ:\n{}",
        different.len(),
        different[..different.len().min(40)].join("\n")
    );
}

/// Each field in turn: gone, and in each of these shapes.
fn vary(value: &Value, path: &str, manifest: &Value, out: &mut Vec<(String, Value)>) {
    let shapes = [
        json!(null),
        json!(""),
        json!("A b"),
        json!("global/x"),
        json!(0),
        json!(1.5),
        json!(true),
        json!([]),
        json!({}),
        json!(["x", "x"]),
    ];
    if path != "/spec" {
        let mut without = manifest.clone();
        let (parent, field) = path.rsplit_once('/').unwrap();
        if let Some(parent) = without.pointer_mut(parent).and_then(Value::as_object_mut) {
            parent.remove(&field.replace("~1", "/"));
            out.push((format!("without {path}"), without));
        }
        for shape in shapes {
            let mut other = manifest.clone();
            *other.pointer_mut(path).unwrap() = shape.clone();
            out.push((format!("{path} = {shape}"), other));
        }
    }
    match value {
        Value::Object(fields) => {
            let mut more = manifest.clone();
            more.pointer_mut(path).unwrap()["unheardOf"] = json!("x");
            out.push((format!("{path} with an unknown field"), more));
            for (field, value) in fields {
                vary(value, &format!("{path}/{}", field.replace('/', "~1")), manifest, out);
            }
        }
        Value::Array(items) => {
            if let Some(first) = items.first() {
                let mut twice = manifest.clone();
                twice.pointer_mut(path).unwrap().as_array_mut().unwrap().push(first.clone());
                out.push((format!("{path} with its first item twice"), twice));
                vary(first, &format!("{path}/0"), manifest, out);
            }
        }
        _ => {}
    }
}

//! Targets: in another namespace, of types that grant rights, Secrets of others.

use serde_json::{Value, json};

use crate::{
    arena::{one, reference, secret},
    tenant::{JSON, REFERENCES, core, ours},
};

fn with_target(target: Value) -> Value {
    json!({ "data": [secret("KEY", "key")], "target": target })
}

attempts! {
    target_in_another_namespace: "writes `target.namespace`, and names with a slash or dots in front" => Status(400, "unknown field"), |a| {
        let there = a.victim.name.clone();
        a.submit("namespace", with_target(json!({ "name": "victim", "namespace": there }))).await;
        let mut rest = one("KEY", "key");
        rest["namespace"] = json!(there);
        a.submit("spec", rest).await;
        let mut rest = one("KEY", "key");
        rest["storeRef"] = json!({ "name": a.store, "namespace": there });
        a.submit("store", rest).await;
    }

    target_in_another_namespace_unchecked: "does the same without strict validation" => Harmless("the field is dropped: the target is in its own namespace"), |a| {
        let object = reference(&a.space.name, "app", a.spec(with_target(json!({ "name": "app", "namespace": a.victim.name }))));
        a.tenant.call("POST", &format!("{}?fieldValidation=Ignore", ours(&a.space.name, REFERENCES)), JSON, &object).await.unwrap();
        a.own_value("app").await;
        assert!(a.victim.data("app").await.is_none());
    }

    target_name_as_a_path: "names its target `VICTIM/victim`, `../victim`, `victim?x`, `Victim`" => Status(422, "spec.target.name"), |a| {
        let there = a.victim.name.clone();
        for (i, name) in [format!("{there}/victim"), format!("../{there}/secrets/victim"), "victim?dryRun=All".to_owned(), "Victim".to_owned(), "victim%2f".to_owned(), ".".to_owned(), "..".to_owned()].into_iter().enumerate() {
            a.submit(&format!("app{i}"), with_target(json!({ "name": name }))).await;
        }
    }

    key_as_a_path: "names keys `../../etc/passwd`, `..data`, `a/b`" => Status(422, ""), |a| {
        for (i, key) in ["../../etc/passwd", "..data", ".", "a/b", "a\u{0}b", "a b"].into_iter().enumerate() {
            a.submit(&format!("app{i}"), one(key, "key")).await;
            let mut rest = one("KEY", "key");
            rest["target"] = json!({ "template": { "data": { key: "x" } } });
            a.submit(&format!("template{i}"), rest).await;
        }
    }

    token_types: "makes a ServiceAccount token or a bootstrap token" => Status(422, "must not be one that grants rights"), |a| {
        for (i, kind) in ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"].into_iter().enumerate() {
            let metadata = json!({ "annotations": { "example.com/a": "b" } });
            a.submit(&format!("app{i}"), with_target(json!({ "type": kind, "metadata": metadata }))).await;
        }
    }

    types_of_other_controllers: "makes Secrets of types that other controllers act upon" => Reason("InvalidReference", "not allowed here"), |a| {
        for (i, kind) in ["helm.sh/release.v1", "example.com/api-token", "opaque", "cluster.x-k8s.io/secret"].into_iter().enumerate() {
            a.submit(&format!("app{i}"), with_target(json!({ "type": kind }))).await;
        }
    }

    merge_into_a_token: "merges a key into the token of a ServiceAccount" => Reason("TargetRejected", "target-types"), |a| {
        let account = json!({ "metadata": { "name": "robot" } });
        a.tenant.create(&core(&a.space.name, "serviceaccounts"), &account).await.unwrap();
        let token = json!({ "metadata": { "name": "robot", "annotations": { "kubernetes.io/service-account.name": "robot" } }, "type": "kubernetes.io/service-account-token" });
        a.tenant.create(&core(&a.space.name, "secrets"), &token).await.unwrap();
        a.submit("app", with_target(json!({ "name": "robot", "creationPolicy": "Merge" }))).await;
        let secret = a.space.get("Secret", "robot").await.unwrap();
        assert!(secret["data"]["KEY"].is_null(), "{secret}");
    }

    labels_of_the_platform: "gives its target labels and annotations of Kubernetes and of this operator" => Status(422, "must not have keys under"), |a| {
        for (i, key) in ["secretref.dev/org", "secretref.dev/managed", "stamp.secretref.dev/other", "kubernetes.io/service-account.name", "app.kubernetes.io/managed-by", "meta.helm.sh.k8s.io/x"].into_iter().enumerate() {
            a.submit(&format!("label{i}"), with_target(json!({ "metadata": { "labels": { key: "x" } } }))).await;
            a.submit(&format!("annotation{i}"), with_target(json!({ "metadata": { "annotations": { key: "x" } } }))).await;
        }
    }

    owners_and_finalizers: "gives its target owners, finalizers and a namespace" => Status(400, "unknown field"), |a| {
        for (i, (field, value)) in [("ownerReferences", json!([])), ("finalizers", json!(["a/b"])), ("namespace", json!("x")), ("name", json!("x"))].into_iter().enumerate() {
            a.submit(&format!("app{i}"), with_target(json!({ "metadata": { field: value } }))).await;
        }
    }

    take_over: "takes over a Secret that the platform put into its namespace" => Reason("TargetConflict", "not this reference's"), |a| {
        a.space.secret("platform", &json!({ "KEY": "theirs" })).await;
        let before = a.space.get("Secret", "platform").await.unwrap();
        a.submit("app", with_target(json!({ "name": "platform" }))).await;
        a.submit("platform", one("KEY", "key")).await;
        let after = a.space.get("Secret", "platform").await.unwrap();
        assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"], "written to");
    }

    take_over_by_adoption: "adopts the target of another reference" => Reason("TargetConflict", ""), |a| {
        let other = a.spec(json!({ "data": [secret("KEY", "key")], "target": { "name": "made" } }));
        a.space.reference("other", &other).await;
        a.space.until_data("made", &json!({ "KEY": a.own })).await;
        a.submit("adopts", with_target(json!({ "name": "made", "creationPolicy": "Adopt" }))).await;
    }

    more_than_a_secret_holds: "makes a target of more than 1 MiB out of a small value" => Reason("TargetRejected", "1 MiB"), |a| {
        let text = "x".repeat(250_000);
        let data: Vec<Value> = (0..5).map(|i| json!({ "key": format!("K{i}"), "value": text })).collect();
        a.submit("app", json!({ "data": data })).await;
    }
}

//! The API server refuses a target.

use base64::Engine;
use serde_json::json;

use crate::{
    harness::{CANARY, plant, wait_for},
    world::{Kept, World, one, secret},
};

#[tokio::test]
async fn a_quota_of_the_namespace_is_told_and_waited_for() {
    let world = World::new().await;
    let value = plant("value");
    world.bao.put("acme--key", json!({ "value": value })).await;
    let quota = |most: &str| {
        json!({
            "apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": { "name": "few", "namespace": world.acme.name }, "spec": { "hard": { "secrets": most } },
        })
    };
    world.cluster.apply(&quota("0")).await;
    // Enforced when the API server has heard of it, which is not when it is written.
    let metadata = json!({ "name": "one-more", "namespace": world.acme.name });
    let more = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata });
    wait_for("the quota is enforced", || async {
        match world.cluster.create(&more).await {
            Err(status) if status.message.contains("exceeded quota") => Ok(()),
            answer => {
                world.acme.delete("Secret", "one-more").await;
                Err(format!("{:?}", answer.map(|_| "created").map_err(|s| s.message)))
            }
        }
    })
    .await;
    world.reference("app", one("KEY", "key")).await;
    world.fails("app", "TargetRejected", &["app", "exceeded quota"]).await;
    world.cluster.apply(&quota("9")).await;
    world.acme.until_data("app", &json!({ "KEY": value })).await;
    world.done().await;
}

#[tokio::test]
async fn more_than_a_secret_can_hold_is_told_before_it_is_tried() {
    let world = World::new().await;
    let small = plant("small");
    for i in 0..3 {
        world.bao.put(&format!("acme--part{i}"), json!({ "value": small })).await;
    }
    world.reference("app", json!({ "data": [secret("A", "part0"), secret("B", "part1"), secret("C", "part2")] })).await;
    world.acme.until_data("app", &json!({ "A": small, "B": small, "C": small })).await;
    let big = plant("big") + &"x".repeat(400_000);
    world.bao.put("acme--part0", json!({ "value": big })).await;
    world.bao.put("acme--part1", json!({ "value": big })).await;
    world.acme.until_data("app", &json!({ "A": big, "B": big, "C": small })).await;
    let kept = Kept::of(&world.acme, "app").await;
    world.bao.put("acme--part2", json!({ "value": big })).await;
    world.fails("app", "TargetRejected", &["1 MiB", "split"]).await;
    kept.check().await;
    world.done().await;
}

/// An admission policy may quote what it refuses; nobody must read it there.
#[tokio::test]
async fn a_refusal_that_quotes_the_value_is_not_repeated() {
    let world = World::new().await;
    let (good, quoted) = (plant("good"), plant("quoted"));
    world.bao.put("acme--key", json!({ "value": good })).await;
    world.reference("app", one("KEY", "key")).await;
    world.acme.until_data("app", &json!({ "KEY": good })).await;
    let kept = Kept::of(&world.acme, "app").await;
    let name = format!("{}-refuses", world.acme.name);
    let scope = json!({ "matchLabels": { "kubernetes.io/metadata.name": world.acme.name } });
    let rules =
        json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["secrets"] }]);
    let admission = "admissionregistration.k8s.io/v1";
    let policy = json!({
        "apiVersion": admission, "kind": "ValidatingAdmissionPolicy", "metadata": { "name": name },
        "spec": {
            "matchConstraints": { "namespaceSelector": scope, "resourceRules": rules },
            "validations": [{
                "expression": "false",
                "messageExpression": "'not this: ' + string(object.data['KEY'])",
            }],
        },
    });
    let binding = json!({
        "apiVersion": admission, "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": name },
        "spec": { "policyName": name, "validationActions": ["Deny"] },
    });
    let mut probe = world.acme.secret("probe", &json!({})).await;
    world.cluster.apply(&policy).await;
    world.cluster.apply(&binding).await;
    // In force, and really quoting: plain or encoded.
    let value = base64::engine::general_purpose::STANDARD.encode(CANARY);
    probe["data"] = json!({ "KEY": value });
    probe["metadata"] = json!({ "name": "probe", "namespace": world.acme.name });
    wait_for("the policy quotes", || async {
        match world.cluster.try_apply(&probe).await {
            Err(status) if status.message.contains(CANARY) || status.message.contains(&value) => Ok(()),
            answer => Err(format!("{:?}", answer.map(|_| "accepted").map_err(|s| s.message))),
        }
    })
    .await;
    world.bao.put("acme--key", json!({ "value": quoted })).await;
    let message = world.fails("app", "TargetRejected", &["app"]).await;
    assert!(message.contains("not shown"), "{message}");
    kept.check().await;
    world.cluster.delete("ValidatingAdmissionPolicyBinding", None, &name).await;
    world.cluster.delete("ValidatingAdmissionPolicy", None, &name).await;
    world.acme.until_data("app", &json!({ "KEY": quoted })).await;
    world.done().await;
}

//! The API server has bad days, too. Targets stay, nothing is doubled, and no hand is needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    api_proxy::{Asked, Does},
    fault_proxy::Fault,
    harness::{Operator, unique, wait_until},
    scene::{Kept, LONG, Scene, leads},
    second::SecondApiServer,
};

fn secret(asked: &Asked) -> bool {
    asked.patches("/secrets/app")
}

/// An operator, and one reference in sync.
async fn stage() -> (Scene, Operator) {
    stage_of(Scene::new().await).await
}

async fn stage_of(scene: Scene) -> (Scene, Operator) {
    let operator = scene.operator().await;
    leads(&operator).await;
    scene.in_place("app").await;
    (scene, operator)
}

/// A change arrives: one write that counts, and one restart.
async fn arrives(scene: &Scene, generation: i64) {
    let value = scene.put("app").await;
    scene.holds("app", &value).await;
    scene.finished("app").await;
    assert_eq!(scene.generation("app").await, generation + 1, "one restart for one change");
}

/// A real API server, killed for longer than a leader may go on without it.
#[tokio::test]
async fn it_is_killed_and_comes_back() {
    let mut server = SecondApiServer::start().await;
    let scene = Scene::new().await;
    let operator = scene.operator_by(server.kubeconfig.to_str().unwrap()).await;
    leads(&operator).await;
    scene.in_place("app").await;
    let (kept, generation) = (Kept::of(&scene.acme, "app").await, scene.generation("app").await);
    server.kill();
    let value = scene.put("app").await;
    wait_until("it leads no longer", LONG, || async {
        if operator.metric("secretref_leader", &[]).await < 0.5 { Ok(()) } else { Err("it does".to_owned()) }
    })
    .await;
    kept.check().await;
    server.up().await;
    scene.holds("app", &value).await;
    scene.finished("app").await;
    assert_eq!(scene.generation("app").await, generation + 1, "one restart for one change");
    arrives(&scene, generation + 1).await;
    scene.done(&[&operator]).await;
}

/// Writes of the target are refused so; the status says it, and the value arrives when they pass.
async fn refuses(code: u16, after: Option<u32>) {
    let (scene, operator) = stage().await;
    let (kept, generation) = (Kept::of(&scene.acme, "app").await, scene.generation("app").await);
    scene.api.on(usize::MAX, Does::Refuse(code, after), secret);
    let value = scene.put("app").await;
    let message = scene.fails("app", "TargetRejected").await;
    assert!(message.contains(&code.to_string()), "{message}");
    kept.check().await;
    scene.api.pass();
    scene.holds("app", &value).await;
    scene.finished("app").await;
    assert_eq!(scene.generation("app").await, generation + 1, "one restart for one change");
    scene.done(&[&operator]).await;
}

#[tokio::test]
async fn it_says_that_it_is_too_much() {
    refuses(429, Some(1)).await;
}

#[tokio::test]
async fn it_says_that_it_cannot_now() {
    refuses(503, Some(1)).await;
}

#[tokio::test]
async fn it_breaks_down_over_a_write() {
    refuses(500, None).await;
}

/// The write is carried out, its answer is lost: it is asked for once more, and nothing happens twice.
#[tokio::test]
async fn the_answer_to_a_write_is_lost() {
    let (scene, operator) = stage().await;
    let generation = scene.generation("app").await;
    let lost = scene.api.on(1, Does::HoldAfter, secret);
    let value = scene.put("app").await;
    scene.met(&lost).await;
    scene.holds("app", &value).await;
    scene.finished("app").await;
    assert_eq!(scene.generation("app").await, generation + 1, "one restart for one change");
    lost.release();
    scene.done(&[&operator]).await;
}

/// How often each thing was written: an object, or what is told of one.
fn counted(asked: &[Asked]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for asked in asked.iter().filter(|a| a.method != reqwest::Method::GET) {
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let told = (&body["regarding"]["name"], &body["reason"]);
        *counts.entry(format!("{} {} {told:?}", asked.method, asked.path)).or_default() += 1;
    }
    counts
}

/// Everything is refused for a while, the status and the Lease too.
#[tokio::test]
async fn it_refuses_every_write_for_a_while() {
    let (scene, operator) = stage().await;
    let (kept, generation) = (Kept::of(&scene.acme, "app").await, scene.generation("app").await);
    let (before, since) = (scene.api.asked().len(), Instant::now());
    scene.api.on(usize::MAX, Does::Refuse(503, Some(1)), |asked| asked.method != reqwest::Method::GET);
    let value = scene.put("app").await;
    wait_until("it leads no longer", LONG, || async {
        if operator.metric("secretref_leader", &[]).await < 0.5 { Ok(()) } else { Err("it does".to_owned()) }
    })
    .await;
    kept.check().await;
    let (asked, seconds) = (scene.api.asked(), since.elapsed().as_secs());
    for (what, times) in counted(&asked[before..]) {
        assert!(times <= seconds + 2, "{what}: {times} times in {seconds} s, and one was asked to wait for 1 s");
    }
    scene.api.pass();
    scene.holds("app", &value).await;
    scene.finished("app").await;
    assert_eq!(scene.generation("app").await, generation + 1, "one restart for one change");
    scene.done(&[&operator]).await;
}

/// As over an etcd with a slow disk: everything takes its time, the Lease too.
#[tokio::test]
async fn every_request_takes_two_seconds() {
    let (scene, operator) = stage().await;
    let generation = scene.generation("app").await;
    let slow = scene.api.on(usize::MAX, Does::Slow(Duration::from_secs(2)), |asked| !asked.is_watch());
    for change in 1..=2 {
        let value = scene.put("app").await;
        scene.holds("app", &value).await;
        scene.finished("app").await;
        assert_eq!(scene.generation("app").await, generation + change, "one restart for each change");
    }
    assert!(slow.hits() > 0, "nothing was slow");
    assert!(operator.metric("secretref_leader", &[]).await > 0.5, "it gave up the lead");
    scene.done(&[&operator]).await;
}

/// The store goes down meanwhile, and no reference can be told: they are when the lead is back.
#[tokio::test]
async fn the_store_goes_down_while_it_refuses_every_write() {
    let (scene, operator) = stage().await;
    let kept = Kept::of(&scene.acme, "app").await;
    let refuse = || Does::Refuse(503, Some(1));
    let told = scene.api.on(usize::MAX, refuse(), |asked| asked.patches("/secretreferences/app/status"));
    scene.api.on(usize::MAX, refuse(), |asked| asked.patches("/status"));
    scene.way.fault(Some(Fault::Down)).await;
    // Its probes have failed often enough for references to be told, and that is refused.
    scene.met(&told).await;
    scene.api.on(usize::MAX, Does::Refuse(503, Some(1)), |asked| asked.method != reqwest::Method::GET);
    wait_until("it leads no longer", LONG, || async {
        if operator.metric("secretref_leader", &[]).await < 0.5 { Ok(()) } else { Err("it does".to_owned()) }
    })
    .await;
    scene.api.pass();
    scene.fails("app", "StoreUnavailable").await;
    kept.check().await;
    scene.way.fault(None).await;
    scene.finished("app").await;
    scene.done(&[&operator]).await;
}

/// Every watch ends, and is told 410 when it begins again: what happened meanwhile is found by a new list.
#[tokio::test]
async fn watches_are_too_old() {
    let (scene, operator) = stage().await;
    let value = scene.put("other").await;
    let gone = scene.api.on(12, Does::Gone, Asked::is_watch);
    scene.api.cut();
    scene.met(&gone).await;
    let uid = scene.uid("app").await;
    scene.acme.delete("Secret", "app").await;
    scene.reference("other", "other").await;
    scene.holds("other", &value).await;
    wait_until("the deleted target is made again", LONG, || async {
        match scene.acme.get("Secret", "app").await {
            Some(secret) if secret["metadata"]["uid"] != uid.as_str() => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
    scene.finished("app").await;
    scene.done(&[&operator]).await;
}

/// Every watch stays open and says nothing more, as behind a firewall that forgot the connection. After three minutes of
/// silence it is opened again, and what happened meanwhile is seen.
#[tokio::test]
async fn watches_are_silently_dead() {
    let (scene, operator) = stage_of(Scene::beside().await).await;
    let watched = |from: usize| -> BTreeSet<String> {
        let asked = scene.api.asked();
        let watches = asked[from..].iter().filter(|a| a.is_watch());
        let lasting = |part: &&str| {
            !["resourceVersion", "timeoutSeconds", "sendInitialEvents"].iter().any(|p| part.starts_with(p))
        };
        watches.map(|a| a.path.split(['?', '&']).filter(lasting).collect::<Vec<_>>().join("&")).collect()
    };
    let (all, before) = (watched(0), scene.api.asked().len());
    let _silent = scene.api.on(usize::MAX, Does::Swallow, Asked::is_watch);
    scene.api.cut();
    wait_until("every watch is opened again", LONG, || async {
        if watched(before).is_superset(&all) { Ok(()) } else { Err(format!("{:?} of {all:?}", watched(before))) }
    })
    .await;
    scene.api.pass();
    let value = scene.put("other").await;
    scene.acme.delete("Secret", "app").await;
    scene.reference("other", "other").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    for name in ["app", "other"] {
        assert!(scene.acme.get("Secret", name).await.is_none(), "{name}: no watch has told of it");
    }
    wait_until("it is noticed that the watches are dead", 3 * LONG, || async {
        let (app, other) = (scene.acme.get("Secret", "app").await, scene.acme.get("Secret", "other").await);
        if app.is_some() && other.is_some() { Ok(()) } else { Err(format!("{app:?} {other:?}")) }
    })
    .await;
    scene.holds("other", &value).await;
    scene.finished("app").await;
    scene.done(&[&operator]).await;
}

/// Somebody writes to the target and to its workload all the time; each change gets through all the same.
#[tokio::test]
async fn everybody_writes_at_once() {
    let (scene, operator) = stage().await;
    let acme = scene.acme.clone();
    let stormy = |secret: &Value| secret["metadata"]["labels"]["example.com/storm"].is_string();
    let storm = tokio::spawn(async move {
        for n in 0.. {
            let patch = json!({ "metadata": { "labels": { "example.com/storm": n.to_string() } } });
            acme.merge("Secret", "app", &patch).await;
            acme.merge("Deployment", "app", &patch).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    scene.acme.until("Secret", "app", "somebody writes to it", stormy).await;
    for _ in 0..3 {
        let generation = scene.generation("app").await;
        arrives(&scene, generation).await;
    }
    let secret = scene.acme.get("Secret", "app").await.unwrap();
    assert!(stormy(&secret), "what is theirs stays");
    assert!(!storm.is_finished(), "nobody wrote any more");
    storm.abort();
    scene.done(&[&operator]).await;
}

/// The right to Secrets is taken away, and given back.
#[tokio::test]
async fn rights_are_taken_away_and_given_back() {
    let scene = Scene::new().await;
    let (user, client) = (format!("operator-{}", unique()), scene.cluster.client.clone());
    let all: Api<ClusterRole> = Api::all(client.clone());
    let bound: Api<ClusterRoleBinding> = Api::all(client.clone());
    let local: Api<Role> = Api::namespaced(client.clone(), &scene.acme.name);
    let secrets: Api<RoleBinding> = Api::namespaced(client.clone(), &scene.acme.name);
    let own: Api<RoleBinding> = Api::namespaced(client, &scene.own.name);
    let every =
        |groups: Value, resources: Value| json!({ "apiGroups": groups, "resources": resources, "verbs": ["*"] });
    let role = |kind: &str, rules: Value| json!({ "kind": kind, "metadata": { "name": user }, "rules": rules });
    let binding = |kind: &str, role: &str| {
        json!({
            "metadata": { "name": user },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
        })
    };
    let rules = json!([
        every(json!(["secretref.dev", "apps", "events.k8s.io"]), json!(["*"])),
        every(json!([""]), json!(["namespaces", "configmaps"])),
    ]);
    let params = PostParams::default();
    all.create(&params, &from(role("ClusterRole", rules))).await.unwrap();
    bound.create(&params, &from(binding("ClusterRole", &user))).await.unwrap();
    own.create(&params, &from(binding("ClusterRole", "cluster-admin"))).await.unwrap();
    local.create(&params, &from(role("Role", json!([every(json!([""]), json!(["secrets"]))])))).await.unwrap();
    secrets.create(&params, &from(binding("Role", &user))).await.unwrap();
    scene.api.act_as(&user);

    let operator = scene.operator().await;
    leads(&operator).await;
    scene.in_place("app").await;
    let (kept, generation) = (Kept::of(&scene.acme, "app").await, scene.generation("app").await);
    secrets.delete(&user, &DeleteParams::default()).await.unwrap();
    // The API server itself hears of it a moment later.
    let reviews: Api<SubjectAccessReview> = Api::all(scene.cluster.client.clone());
    let patches = json!({ "verb": "patch", "resource": "secrets", "namespace": scene.acme.name, "name": "app" });
    let review = json!({ "metadata": {}, "spec": { "user": user, "resourceAttributes": patches } });
    wait_until("the right is gone", LONG, || async {
        let told = reviews.create(&params, &from(review.clone())).await.unwrap().status;
        if told.is_some_and(|told| !told.allowed) { Ok(()) } else { Err("it is not".to_owned()) }
    })
    .await;
    scene.api.cut();
    let value = scene.put("app").await;
    let message = scene.fails("app", "TargetRejected").await;
    assert!(message.contains("403"), "{message}");
    kept.check().await;
    secrets.create(&params, &from(binding("Role", &user))).await.unwrap();
    scene.holds("app", &value).await;
    scene.finished("app").await;
    assert_eq!(scene.generation("app").await, generation + 1, "one restart for one change");
    bound.delete(&user, &DeleteParams::default()).await.unwrap();
    all.delete(&user, &DeleteParams::default()).await.unwrap();
    scene.done(&[&operator]).await;
}

/// The operator is there before its definitions are.
#[tokio::test]
async fn the_definitions_come_later() {
    let scene = Scene::new().await;
    let value = scene.put("app").await;
    scene.reference("app", "app").await;
    let missing = scene.api.on(usize::MAX, Does::Refuse(404, None), |a| a.path.contains("/secretref.dev/"));
    let come = async {
        wait_until("they are asked for again and again", LONG, || async {
            if missing.hits() > 6 { Ok(()) } else { Err(missing.hits().to_string()) }
        })
        .await;
        assert!(scene.acme.get("Secret", "app").await.is_none());
        scene.api.pass();
    };
    let (operator, ()) = tokio::join!(scene.operator(), come);
    scene.holds("app", &value).await;
    scene.finished("app").await;
    scene.done(&[&operator]).await;
}

/// An upgrade applies them once more, a little different.
#[tokio::test]
async fn the_definitions_are_applied_again() {
    let (scene, operator) = stage().await;
    let (kept, generation) = (Kept::of(&scene.acme, "app").await, scene.generation("app").await);
    for (plural, crd) in secretref::api::crds().unwrap() {
        let mut crd = json!(crd);
        crd["apiVersion"] = json!("apiextensions.k8s.io/v1");
        crd["kind"] = json!("CustomResourceDefinition");
        let properties =
            &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
        assert!(properties.is_object(), "{plural} has a status");
        properties["aFieldOfTheNextVersion"] = json!({ "type": "string" });
        scene.cluster.apply(&crd).await;
    }
    let value = scene.put("other").await;
    scene.reference("other", "other").await;
    scene.holds("other", &value).await;
    kept.check().await;
    arrives(&scene, generation).await;
    scene.done(&[&operator]).await;
}

fn from<K: serde::de::DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

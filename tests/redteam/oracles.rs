//! Learning what is there without getting it: by messages, by conditions, by what is asked of the store.

use serde_json::{Value, json};

use crate::{
    arena::{Arena, one, reference},
    harness::{condition, reason, wait_for},
    tenant::{REFERENCES, ours},
};

/// What a user sees of a reference, once it was looked at: all conditions and the rest of the status, without times.
async fn seen(arena: &Arena, name: &str, rest: Value) -> Value {
    let object = reference(&arena.space.name, name, arena.spec(rest));
    arena.tenant.create(&ours(&arena.space.name, REFERENCES), &object).await.unwrap();
    let reference = arena.space.until("SecretReference", name, "it was looked at", |r| {
        r["status"]["observedGeneration"] == r["metadata"]["generation"] && !reason(r).is_empty()
    });
    let reference = reference.await;
    // An Event comes when it comes; that one is suspended, or is in sync, is said by its status alone.
    if let Some(why) = Some(reason(&reference)).filter(|why| !["Suspended", "Synced"].contains(why)) {
        arena.space.until_event("SecretReference", name, why).await;
    }
    // Long enough for whatever else would be told of one and not of the other.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    let mut status = arena.space.get("SecretReference", name).await.unwrap()["status"].take();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition.as_object_mut().unwrap().remove("lastTransitionTime");
    }
    let events = arena.space.events("SecretReference", name).await;
    let events: Vec<String> = events.into_iter().map(|(reason, note)| format!("{reason}: {note}")).collect();
    json!({ "status": status, "events": events })
}

/// Both in the same words, but for the names that the tenant gave itself.
fn same(mut one: Value, mut other: Value, names: [(&str, &str); 2]) {
    for (value, (name, shown)) in [(&mut one, names[0]), (&mut other, names[1])] {
        *value = serde_json::from_str(&value.to_string().replace(name, "STORE").replace(shown, "NAME")).unwrap();
    }
    assert_eq!(one, other, "the answers differ");
}

attempts! {
    store_that_does_not_admit_it: "tells a store that does not admit it from one that is not there: ready, suspended, with `spec.org`, with a bad name" => Harmless("both are `StoreNotFound`, in the same words in every condition"), |a| {
        let (hidden, missing) = (format!("{}-hidden", a.store), format!("{}-absent", a.store));
        let selector = json!({ "matchLabels": { "kubernetes.io/metadata.name": a.victim.name } });
        a.put_store(&hidden, json!({ "tenancy": { "namespaceSelector": selector } })).await;
        let variants = [
            ("plain", json!({})),
            ("suspended", json!({ "suspend": true })),
            ("claims", json!({ "org": a.victim_org })),
            ("capitals", one("KEY", "KEY")),
            ("type", json!({ "target": { "type": "example.com/x" } })),
        ];
        for (variant, more) in variants {
            let spec = |store: &str| {
                let mut rest = one("KEY", "key");
                rest["storeRef"] = json!({ "name": store });
                for (key, value) in more.as_object().unwrap() {
                    rest[key] = value.clone();
                }
                rest
            };
            let (first, second) = (format!("{variant}-hidden"), format!("{variant}-absent"));
            let (one, other) = tokio::join!(seen(&a, &first, spec(&hidden)), seen(&a, &second, spec(&missing)));
            same(one, other, [(&hidden, &first), (&missing, &second)]);
        }
        a.cluster.delete("ClusterSecretStore", None, &hidden).await;
        a.harmless();
    }

    suspended_and_sent_away: "is admitted, loses the store, and looks at its health through a suspended reference" => Harmless("a store that does not admit it any more says nothing of its health"), |a| {
        let store = format!("{}-in", a.store);
        let selector = json!({ "matchLabels": { "in": "yes" } });
        a.cluster.merge("Namespace", None, &a.space.name, &json!({ "metadata": { "labels": { "in": "yes" } } })).await;
        a.put_store(&store, json!({ "tenancy": { "namespaceSelector": selector } })).await;
        let mut rest = one("KEY", "key");
        rest["storeRef"] = json!({ "name": store });
        seen(&a, "app", rest).await;
        a.space.until("SecretReference", "app", "told of the store's health", |r| {
            condition(r, "StoreHealthy")["message"].as_str().is_some_and(|m| m.contains("the store answers"))
        }).await;
        a.tenant.merge(&format!("{}/app", ours(&a.space.name, REFERENCES)), &json!({ "spec": { "suspend": true } })).await.unwrap();
        a.space.until_reason("app", "Suspended").await;
        a.cluster.merge("Namespace", None, &a.space.name, &json!({ "metadata": { "labels": { "in": null } } })).await;
        a.space.until("SecretReference", "app", "says nothing of the store's health", |r| {
            condition(r, "StoreHealthy")["reason"] == "StoreNotFound"
        }).await;
        a.cluster.delete("ClusterSecretStore", None, &store).await;
        a.harmless();
    }

    org_that_is_there: "tells an organisation that is there from one that is not, by `spec.org`" => Harmless("both are `OrgMismatch`, in the same words"), |a| {
        let claim = |org: &str| {
            let mut rest = one("KEY", "key");
            rest["org"] = json!(org);
            rest
        };
        let there = a.victim_org.clone();
        let (one, other) = tokio::join!(seen(&a, "there", claim(&there)), seen(&a, "absent", claim("nobody-at-all")));
        same(one, other, [(&there, "there"), ("nobody-at-all", "absent")]);
        a.harmless();
    }

    name_that_is_there: "tells a name of the other organisation that is there from one that is not, by folders, by `find`, by guesses" => Harmless("its store keys are its own: the same answer, and no request for the other organisation's key"), |a| {
        let there = a.victim_org.clone();
        let find = |prefix: String| json!({ "dataFrom": [{ "find": { "prefix": prefix } }] });
        let guesses = [
            (one("KEY", &format!("{there}/key")), one("KEY", &format!("{there}/nil"))),
            (find(format!("{there}/key")), find(format!("{there}/nil"))),
            (find("corp".to_owned()), find("nope".to_owned())),
        ];
        for (i, (guess, blank)) in guesses.into_iter().enumerate() {
            let (first, second) = (format!("guess{i}"), format!("blank{i}"));
            let (one, other) = tokio::join!(seen(&a, &first, guess), seen(&a, &second, blank));
            let clean = |v: Value| v.to_string().replace(&format!("{there}/key"), "N").replace(&format!("{there}/nil"), "N").replace("corp", "N").replace("nope", "N").replace(&first, "R").replace(&second, "R");
            assert_eq!(clean(one), clean(other));
        }
        // Timing has nothing to tell where nothing is asked.
        let asked = format!("{}/{}--key", a.store, a.victim_org);
        let mine = format!("SecretReference/{}/", a.space.name);
        let audit = wait_for("the audit log knows of this tenant", || async {
            Some(a.operator.audit()).filter(|audit| audit.contains(&mine)).ok_or_else(String::new)
        }).await;
        let crossed: Vec<&str> = audit.lines().filter(|line| line.contains(&mine) && line.contains(&asked)).collect();
        assert!(crossed.is_empty(), "{crossed:?}");
        a.harmless();
    }

    messages_about_the_platform: "looks for addresses, Secrets and namespaces of the platform in what it is told" => Reason("SecretNotFound", "neither"), |a| {
        a.submit("app", one("KEY", "nowhere")).await;
        a.space.until_event("SecretReference", "app", "SecretNotFound").await;
        let told = a.space.get("SecretReference", "app").await.unwrap()["status"].to_string() + &format!("{:?}", a.space.events("SecretReference", "app").await);
        let address = a.bao.address.strip_prefix("https://").unwrap().to_owned();
        for word in [&a.home.name, &address, &a.bao.namespace, &a.victim_org, &a.victim.name] {
            assert!(!told.contains(word.as_str()), "{word} in {told}");
        }
    }

    store_of_a_namespace_without_org: "has a namespace without an organisation, and asks for names of organisations and of the platform" => Reason("OrgNotBound", "bound to no organisation"), |a| {
        let labels = json!({ "metadata": { "labels": { "secretref.dev/org": null } } });
        a.cluster.merge("Namespace", None, &a.space.name, &labels).await;
        a.bao.put("GLOBAL--shared", json!({ "value": a.value })).await;
        a.submit("own", one("KEY", "key")).await;
        a.submit("global", json!({ "data": [{ "key": "KEY", "secretRef": { "name": "shared", "scope": "Global" } }] })).await;
        a.submit("find", json!({ "dataFrom": [{ "find": { "prefix": "s" } }] })).await;
    }
}

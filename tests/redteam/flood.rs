//! Floods: the others must still sync.

use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    arena::{Arena, one, reference, secret},
    harness::{plant, unique, wait_until},
    tenant::{REFERENCES, ours},
};

/// A store that gives little: what one takes, the others lack.
async fn scarce(arena: &Arena) {
    let limits = json!({ "requestsPerSecond": 50, "burst": 20, "minRefreshInterval": "1s" });
    arena.put_store(&arena.store, json!({ "limits": limits })).await;
}

/// The tenant creates many references, a few at a time.
async fn pour(arena: &Arena, specs: impl Iterator<Item = (String, Value)>) -> usize {
    let path = ours(&arena.space.name, REFERENCES);
    let made = stream::iter(specs).map(|(name, rest)| {
        let object = reference(&arena.space.name, &name, arena.spec(rest));
        let path = &path;
        async move {
            arena.tenant.create(path, &object).await.unwrap_or_else(|(code, what)| panic!("{name}: {code} {what}"))
        }
    });
    made.buffer_unordered(32).count().await
}

/// The other organisation notices nothing: a new reference is served, and a new value arrives.
async fn others_still_sync(arena: &mut Arena) {
    let new = plant("fresh");
    arena.bao.put(&format!("{}--fresh", arena.victim_org), json!({ "value": new })).await;
    let spec = arena.spec(one("KEY", "fresh"));
    arena.victim.reference("fresh", &spec).await;
    arrives(arena, "fresh", &new).await;
    let rotated = plant("rotated");
    arena.bao.put(&format!("{}--fresh", arena.victim_org), json!({ "value": rotated })).await;
    arrives(arena, "fresh", &rotated).await;
    arena.harmless();
}

/// Long enough for a busy machine; without turns it would take many times that.
pub async fn arrives(arena: &Arena, name: &str, value: &str) {
    let expected = json!({ "KEY": value });
    wait_until("the others get theirs", Duration::from_secs(120), || async {
        match arena.victim.data(name).await {
            Some(data) if data == expected => Ok(()),
            other => Err(format!("{other:?}: {:?}", arena.victim.get("SecretReference", name).await)),
        }
    })
    .await;
}

/// How many references are poured: 10,000 take minutes on a small machine.
fn many() -> usize {
    std::env::var("SECRETREF_FLOOD").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000)
}

attempts! {
    flood_of_bad_references: "creates 2,000 references that are wrong in every way (10,000 with SECRETREF_FLOOD=10000)" => Harmless("the others get new values and new references all the same"), |a| {
        scarce(&a).await;
        let org = a.victim_org.clone();
        let bad = (0..many()).map(|i| {
            let mut rest = one("KEY", &format!("missing-{i}"));
            match i % 6 {
                0 => {}
                1 => rest = one("KEY", "KEY"),
                2 => rest["org"] = json!(org),
                3 => rest["storeRef"] = json!({ "name": format!("no-store-{i}") }),
                4 => rest["target"] = json!({ "template": { "data": { "OUT": "{{ nothing }}" } } }),
                _ => rest["dataFrom"] = json!([{ "find": { "prefix": format!("p{i}") } }]),
            }
            (format!("bad-{i}"), rest)
        });
        assert_eq!(pour(&a, bad).await, many());
        others_still_sync(&mut a).await;
    }

    flood_of_names: "asks for 15,000 names that are not there, in 60 references" => Harmless("requests take turns between namespaces: the others get theirs all the same"), |a| {
        scarce(&a).await;
        let mark = unique();
        let wide = (0..60).map(|i| {
            let data: Vec<Value> = (0..250).map(|k| secret(&format!("K{k}"), &format!("none-{mark}-{i}-{k}"))).collect();
            (format!("wide-{i}"), json!({ "data": data }))
        });
        pour(&a, wide).await;
        others_still_sync(&mut a).await;
    }

    flood_of_healthy_references: "asks for 6,000 names that are there, in 60 references that want each of them once a second" => Harmless("what the store bears is shared between namespaces, and not between keys: the others get theirs all the same"), |a| {
        scarce(&a).await;
        let value = plant("healthy");
        let written = stream::iter(0..6_000).map(|i| {
            let (key, value, bao) = (format!("{}--own-{i}", a.org), json!({ "value": value }), &a.bao);
            async move { bao.put(&key, value).await }
        });
        assert_eq!(written.buffer_unordered(16).count().await, 6_000);
        let wide = (0..60).map(|i| {
            let data: Vec<Value> = (0..100).map(|k| secret(&format!("K{k}"), &format!("own-{}", i * 100 + k))).collect();
            (format!("wide-{i}"), json!({ "data": data }))
        });
        pour(&a, wide).await;
        others_still_sync(&mut a).await;
    }

    flood_of_sync_now: "asks for a sync at once 300 times, for 200 names each" => Harmless("the others get theirs all the same"), |a| {
        scarce(&a).await;
        let data: Vec<Value> = (0..200).map(|k| secret(&format!("K{k}"), &format!("none-{k}"))).collect();
        let wide = (0..10).map(|i| (format!("wide-{i}"), json!({ "data": data })));
        pour(&a, wide).await;
        let path = ours(&a.space.name, REFERENCES);
        let asks = stream::iter(0..300).map(|i| {
            let (tenant, path) = (&a.tenant, format!("{path}/wide-{}", i % 10));
            async move {
                let annotations = json!({ "secretref.dev/sync-now": i.to_string() });
                tenant.merge(&path, &json!({ "metadata": { "annotations": annotations } })).await.unwrap()
            }
        });
        assert_eq!(asks.buffer_unordered(8).count().await, 300);
        others_still_sync(&mut a).await;
    }

    flood_of_stores: "creates 100 stores of its own that lead nowhere" => Harmless("the others get theirs all the same"), |a| {
        for i in 0..100 {
            let provider = json!({ "vault": { "address": a.bao.address, "caBundle": a.bao.ca, "auth": { "token": { "secretRef": { "name": format!("none{i}"), "key": "k" } } } } });
            a.own_store(&format!("store{i}"), provider).await.unwrap();
        }
        others_still_sync(&mut a).await;
        for i in 0..100 {
            a.space.delete("SecretStore", &format!("store{i}")).await;
        }
    }
}

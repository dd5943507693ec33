//! Four kinds of stores in one cluster at once: each gives the same, and none takes the others down. Key Vault and
//! Infisical are fakes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    fault_proxy::Fault,
    four::Four,
    harness::{condition, plant, wait_for},
    world::{Kept, secret},
};

fn value(kind: &str, what: &str) -> String {
    plant(&format!("{kind}-{what}"))
}

#[tokio::test]
async fn each_gives_the_same_and_none_takes_the_others_down() {
    let four = Four::new().await;
    let mut values = Vec::new();
    for store in &four.stores {
        let (own, shared) = (value(store.kind, "own"), value(store.kind, "shared"));
        four.put(store.kind, true, "db-password", &own).await;
        four.put(store.kind, false, "db-password", &value(store.kind, "hidden")).await;
        four.put(store.kind, false, "api-key", &shared).await;
        let data = json!([secret("OWN", "db-password"), secret("SHARED", "api-key")]);
        let spec = json!({ "storeRef": { "name": store.name }, "data": data });
        four.world.reference(store.kind, spec).await;
        values.push((own, shared));
    }
    for (store, (own, shared)) in four.stores.iter().zip(&values) {
        four.until(store.kind, own, shared).await;
    }
    let mut fallen = 0;
    for down in &four.stores {
        let Some(proxy) = &down.proxy else { continue };
        fallen += 1;
        let kept = Kept::of(&four.world.acme, down.kind).await;
        proxy.fault(Some(Fault::Down)).await;
        four.world.until_store(&down.name, "False", "StoreUnavailable").await;
        let unhealthy = |r: &Value| condition(r, "StoreHealthy")["status"] == "False";
        four.world.acme.until("SecretReference", down.kind, "its store is down", unhealthy).await;
        // The others are read, and hear of changes, as if nothing were.
        for (other, (own, shared)) in four.stores.iter().zip(&mut values).filter(|(s, _)| s.kind != down.kind) {
            *own = value(other.kind, &format!("own-while-{}-is-down", down.kind));
            four.put(other.kind, true, "db-password", own).await;
            four.until(other.kind, own, shared).await;
            let reference = four.world.acme.get("SecretReference", other.kind).await.unwrap();
            assert_eq!(condition(&reference, "StoreHealthy")["status"], "True", "{}", other.kind);
        }
        kept.check().await;
        proxy.fault(None).await;
        four.world.until_store(&down.name, "True", "Healthy").await;
        let (own, shared) = values.iter_mut().zip(&four.stores).find(|(_, s)| s.kind == down.kind).unwrap().0;
        *own = value(down.kind, "own-afterwards");
        four.put(down.kind, true, "db-password", own).await;
        four.until(down.kind, own, shared).await;
    }
    assert_eq!(fallen, 3);
    four.world.done().await;
}

/// What one refresh cycle asks of a store, with a hundred references on sixty keys.
#[tokio::test]
async fn a_cycle_costs_what_the_lists_cost() {
    let four = Four::new().await;
    let names: Vec<String> = (0..30).map(|n| format!("key-{n:02}")).collect();
    for kind in ["infisical", "key-vault"] {
        for name in &names {
            four.put(kind, false, name, &value(kind, name)).await;
        }
    }
    // What was written just now is read again for a minute: its clock ticks in seconds.
    four.key_vault.age(3600);
    let [_, _, infisical, azure] = &four.stores;
    for (store, references) in [(infisical, 50), (azure, 50)] {
        for n in 0..references {
            let data: Vec<Value> = (0..3).map(|k| secret(&format!("K{k}"), &names[(n + k) % names.len()])).collect();
            let spec = json!({ "storeRef": { "name": store.name }, "refreshInterval": "5s", "data": data });
            four.world.reference(&format!("{}{n}", store.kind), spec).await;
        }
    }
    for store in [infisical, azure] {
        for n in 0..50 {
            four.world.acme.until_reason(&format!("{}{n}", store.kind), "Synced").await;
        }
    }
    let requests = || [infisical, azure].map(|store| store.proxy.as_ref().unwrap().requests());
    let since = async |before: [Vec<String>; 2], cycles: Duration| {
        tokio::time::sleep(cycles).await;
        let [mut infisical, mut azure] = requests();
        (infisical.split_off(before[0].len()), azure.split_off(before[1].len()))
    };
    let asked = |requests: &[String], what: &dyn Fn(&str) -> bool| requests.iter().filter(|r| what(r)).count();
    let reads_of = |(infisical, azure): &(Vec<String>, Vec<String>)| {
        asked(infisical, &|r| r.contains("/KEY_")) + asked(azure, &|r| r.contains("--key-"))
    };
    // In steady state: what the first cycle had to find out is known.
    wait_for("a cycle without a read", || async {
        let cycle = since(requests(), Duration::from_secs(6)).await;
        if reads_of(&cycle) == 0 { Ok(()) } else { Err(format!("{cycle:?}")) }
    })
    .await;
    let (began, before) = (Instant::now(), requests());
    tokio::time::sleep(Duration::from_secs(21)).await;
    // Four cycles and the beginning of a fifth, or more on a machine that had other things to do. Sixty keys count in
    // each: thirty that are there, and thirty that acme has not. Probes ask for names of their own, and for one name of
    // a list.
    let pages_of = |azure: &[String]| asked(azure, &|r| r.starts_with("GET /secrets?") && !r.contains("maxresults=1"));
    let lists_of = |infisical: &[String]| asked(infisical, &|r| r.starts_with("GET /api/v4/secrets?"));
    let (seen, pages, lists) = wait_for("three cycles of each", || async {
        let seen = since(before.clone(), Duration::ZERO).await;
        let (lists, pages) = (lists_of(&seen.0), pages_of(&seen.1));
        if pages >= 6 && lists >= 6 { Ok((seen, pages, lists)) } else { Err(format!("{seen:?}")) }
    })
    .await;
    // And one that was to begin before, and came late.
    let most = began.elapsed().as_secs() as usize / 5 + 2;
    assert_eq!(reads_of(&seen), 0, "what has not changed is not read: {seen:?}");
    assert!(pages <= 2 * most, "Key Vault: {pages} pages of thirty secrets in {most} cycles: {seen:?}");
    assert!(lists <= 2 * most, "Infisical: {lists} lists of two folders in {most} cycles: {seen:?}");

    // One change is one read more, and arrives.
    let new = value("key-vault", "changed");
    four.put("key-vault", false, "key-03", &new).await;
    let at = |n: usize| format!("key-vault{n}");
    wait_for("the change is in every Secret that has it", || async {
        for (n, key) in [(3, "K0"), (2, "K1"), (1, "K2"), (33, "K0")] {
            let data = four.world.acme.data(&at(n)).await.unwrap();
            if data[key] != json!(new) {
                return Err(format!("{} holds {data}", at(n)));
            }
        }
        Ok(())
    })
    .await;
    four.world.done().await;
}

/// One reference with one name is too few for a list to help, and an absent key is read all the same.
#[tokio::test]
async fn what_the_organisation_gets_later_arrives() {
    let four = Four::new().await;
    for store in &four.stores {
        let (shared, own) = (value(store.kind, "shared"), value(store.kind, "own"));
        four.put(store.kind, false, "db-password", &shared).await;
        let spec = json!({ "storeRef": { "name": store.name }, "data": [secret("KEY", "db-password")] });
        four.world.reference(store.kind, spec).await;
        four.world.acme.until_data(store.kind, &json!({ "KEY": shared })).await;
        four.put(store.kind, true, "db-password", &own).await;
        four.world.acme.until_data(store.kind, &json!({ "KEY": own })).await;
    }
    four.world.done().await;
}

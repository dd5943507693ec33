//! Notifications in the words of Azure Event Grid and of Infisical.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    harness::{mac, seconds, unique, wait_for},
    sender::{Sender, give_key},
    world::World,
};

/// A store of another provider, which nothing answers for; its uid.
async fn other_store(world: &mut World, provider: Value) -> (String, String) {
    let name = world.store_name();
    let object = json!({
        "apiVersion": "secretref.dev/v1alpha1", "kind": "ClusterSecretStore",
        "metadata": { "name": name }, "spec": { "provider": provider },
    });
    let object = world.cluster.apply(&object).await;
    (name, object["metadata"]["uid"].as_str().unwrap().to_owned())
}

async fn noted(world: &World, uid: &str) -> bool {
    let rings = world.cluster.list("ConfigMap", Some(&world.operator.namespace)).await;
    rings.iter().any(|r| r["data"].get(uid).is_some())
}

#[tokio::test]
async fn event_grid_shakes_hands_and_tells_of_its_own_vault_only() {
    let mut sender = Sender::new(json!({})).await;
    let vault = format!("kv-{}", unique());
    let auth = json!({ "clientSecret": { "tenantId": "t", "clientId": "c", "clientSecret": { "secretRef":
        { "name": "no-such-secret", "namespace": sender.world.home.name, "key": "k" } } } });
    let provider = json!({ "azureKeyVault": { "vaultUrl": format!("https://{vault}.vault.invalid"), "auth": auth } });
    let (store, uid) = other_store(&mut sender.world, provider).await;
    let key = give_key(&sender.world, &store).await;
    let path = format!("/hooks/event-grid/{store}");
    let validation = json!([{
        "id": "1", "topic": "t", "subject": "", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": { "validationCode": "512d38b6-c7b8", "validationUrl": "https://rp.eventgrid.invalid/x" },
        "eventTime": "2018-01-25T22:12:19Z", "metadataVersion": "1", "dataVersion": "1",
    }])
    .to_string();
    wait_for("the store is known", || async {
        let answer = sender.send(&format!("{path}?code={key}"), &[], validation.clone()).await;
        if answer.status() != StatusCode::OK {
            return Err(answer.status().to_string());
        }
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "validationResponse": "512d38b6-c7b8" }));
        Ok(())
    })
    .await;
    assert_eq!(sender.send(&path, &[], validation.clone()).await.status(), StatusCode::UNAUTHORIZED);

    // CloudEvents ask first whether anybody wants them; of which store is nobody's business.
    for store in [store.as_str(), "no-such-store"] {
        let url = format!("http://{}/hooks/event-grid/{store}", sender.address);
        let request = reqwest::Client::new()
            .request(Method::OPTIONS, url)
            .header("WebHook-Request-Origin", "eventgrid.azure.net");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["webhook-allowed-origin"], "eventgrid.azure.net");
    }

    let event = |vault: &str| {
        json!([{
            "id": "2", "subject": "acme--key", "eventType": "Microsoft.KeyVault.SecretNewVersionCreated",
            "data": { "Id": format!("https://{vault}.vault.invalid/secrets/acme--key/1"), "VaultName": vault,
                "ObjectType": "Secret", "ObjectName": "acme--key", "Version": "1" },
            "eventTime": "2019-07-25T01:08:33Z", "metadataVersion": "1", "dataVersion": "1",
        }])
        .to_string()
    };
    for wrong in ["wrong".to_owned(), sender.key.clone(), key.to_uppercase(), format!("{key}0")] {
        let answer = sender.send(&path, &[("x-secretref-key", wrong)], event(&vault)).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    let foreign = sender.send(&path, &[("x-secretref-key", key.clone())], event("kv-another")).await;
    assert_eq!(foreign.status(), StatusCode::ACCEPTED);
    assert!(!noted(&sender.world, &uid).await, "the other vault is no news");
    let ours = sender.send(&path, &[("authorization", format!("Bearer {key}"))], event(&vault)).await;
    assert_eq!(ours.status(), StatusCode::ACCEPTED);
    assert!(noted(&sender.world, &uid).await, "what is accepted is written down");
    sender.done().await;
}

#[tokio::test]
async fn infisical_tells_of_its_own_project_and_environment_only() {
    let mut sender = Sender::new(json!({})).await;
    let credential =
        json!({ "secretRef": { "name": "no-such-secret", "namespace": sender.world.home.name, "key": "k" } });
    let auth = json!({ "universalAuth": { "clientId": credential, "clientSecret": credential } });
    let project = unique();
    let settings =
        json!({ "hostUrl": "https://infisical.invalid", "projectId": project, "environment": "prod", "auth": auth });
    let (store, uid) = other_store(&mut sender.world, json!({ "infisical": settings })).await;
    let key = give_key(&sender.world, &store).await;
    let path = format!("/hooks/infisical/{store}");
    let now = seconds() * 1000;
    let body = |event: &str, project: &str, environment: &str, at: u64| {
        json!({ "event": event, "timestamp": at, "project": { "workspaceId": project, "projectId": project,
            "projectName": "p", "environment": environment, "secretPath": "/acme" } })
        .to_string()
    };
    let sign = |key: &str, body: &str| vec![("x-infisical-signature", format!("t={now};{}", mac(key, body)))];
    let test = body("test", &project, "prod", now);
    wait_for("the store is known", || async {
        let answer = sender.send(&path, &sign(&key, &test), test.clone()).await.status();
        if answer == StatusCode::ACCEPTED { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    for (what, body) in [
        ("another project", body("secrets.modified", "another", "prod", now)),
        ("another environment", body("secrets.modified", &project, "dev", now)),
        ("another event", body("secrets.reminder-expired", &project, "prod", now)),
    ] {
        assert_eq!(sender.send(&path, &sign(&key, &body), body).await.status(), StatusCode::ACCEPTED, "{what}");
    }
    let good = body("secrets.modified", &project, "prod", now);
    let old = body("secrets.modified", &project, "prod", now - 400_000);
    for (what, headers, body) in [
        ("unsigned", vec![], good.clone()),
        ("another key", sign(&sender.key, &good), good.clone()),
        ("an old one with a new time in the header", sign(&key, &old), old),
    ] {
        assert_eq!(sender.send(&path, &headers, body).await.status(), StatusCode::UNAUTHORIZED, "{what}");
    }
    assert!(!noted(&sender.world, &uid).await, "nothing of this was news");
    assert_eq!(sender.send(&path, &sign(&key, &good), good).await.status(), StatusCode::ACCEPTED);
    assert!(noted(&sender.world, &uid).await);
    sender.done().await;
}

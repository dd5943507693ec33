//! Stores that hang: the others must still sync.

use axum::http::StatusCode;
use serde_json::json;

use crate::{
    arena::{one, reference},
    flood::arrives,
    harness::{plant, wait_for},
    servers::Collector,
    tenant::{REFERENCES, STORES, ours},
};

attempts! {
    stores_that_never_answer: "has an allowed server that answers logins and then nothing, six stores on it with a timeout of 5 minutes, and 40 references to each" => Harmless("tenants' stores share a part of the workers, and a namespace leaves room in it: the others get theirs all the same"), |a| {
        let allowed = Collector::allowed(StatusCode::OK, None).await;
        allowed.served.line(crate::tls::Line::Hangs);
        a.space.secret("mine", &json!({ "token": plant("token") })).await;
        let auth = json!({ "token": { "secretRef": { "name": "mine", "key": "token" } } });
        for store in 0..6 {
            let object = json!({
                "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretStore", "metadata": { "name": format!("slow{store}") },
                "spec": { "provider": allowed.vault(auth.clone()), "healthCheckInterval": "1s", "limits": { "timeout": "5m", "maxConcurrent": 1000 } },
            });
            a.tenant.create(&ours(&a.space.name, STORES), &object).await.unwrap();
            for i in 0..40 {
                let mut spec = a.spec(one("KEY", &format!("key-{i}")));
                spec["storeRef"] = json!({ "name": format!("slow{store}"), "kind": "SecretStore" });
                let object = reference(&a.space.name, &format!("slow-{store}-{i}"), spec);
                a.tenant.create(&ours(&a.space.name, REFERENCES), &object).await.unwrap();
            }
        }
        wait_for("requests hang", || async {
            let hang = allowed.served.requests();
            if hang >= 6 { Ok(()) } else { Err(hang.to_string()) }
        }).await;
        let new = plant("fresh");
        a.bao.put(&format!("{}--fresh", a.victim_org), json!({ "value": new })).await;
        let spec = a.spec(one("KEY", "fresh"));
        a.victim.reference("fresh", &spec).await;
        arrives(&a, "fresh", &new).await;
        a.harmless();
    }
}

//! Objects of others, and labels, annotations, owners and statuses on the tenant's own.

use serde_json::{Value, json};

use crate::{
    arena::{one, reference},
    tenant::{APPLY, MERGE, REFERENCES, STORES, core, ours, roles},
};

const CLUSTER_STORES: &str = "/apis/secretref.dev/v1alpha1/clustersecretstores";

attempts! {
    reference_in_anothers_namespace: "creates a reference in the other organisation's namespace, and reads what is there" => Status(403, "cannot"), |a| {
        let there = a.victim.name.clone();
        let object = reference(&there, "app", a.spec(one("KEY", "key")));
        let answers = [
            a.tenant.create(&ours(&there, REFERENCES), &object).await,
            a.tenant.get(&ours(&there, REFERENCES)).await,
            a.tenant.get(&core(&there, "secrets/victim")).await,
            a.tenant.get("/apis/secretref.dev/v1alpha1/secretreferences").await,
            a.tenant.get("/api/v1/secrets").await,
        ];
        answers.into_iter().for_each(|answer| a.refused(answer));
    }

    namespace_in_the_body: "creates a reference in its own namespace whose metadata names another" => Status(400, "does not match"), |a| {
        let object = reference(&a.victim.name, "app", a.spec(one("KEY", "key")));
        let answer = a.tenant.create(&ours(&a.space.name, REFERENCES), &object).await;
        a.refused(answer);
    }

    platform_stores: "reads, creates, changes and deletes stores of the platform" => Status(403, "clustersecretstores"), |a| {
        let path = format!("{CLUSTER_STORES}/{}", a.store);
        let wide = json!({ "spec": { "tenancy": { "orgFrom": { "org": a.victim_org }, "namespaceSelector": {} } } });
        let object = json!({ "apiVersion": "secretref.dev/v1alpha1", "kind": "ClusterSecretStore", "metadata": { "name": "mine" }, "spec": { "provider": { "kubernetes": { "namespace": a.home.name } } } });
        let answers = [
            a.tenant.get(CLUSTER_STORES).await,
            a.tenant.get(&path).await,
            a.tenant.merge(&path, &wide).await,
            a.tenant.create(CLUSTER_STORES, &object).await,
            a.tenant.call("DELETE", &path, MERGE, &Value::Null).await,
        ];
        answers.into_iter().for_each(|answer| a.refused(answer));
    }

    platform_credentials: "reads the platform's namespace: credentials, fingerprint key, Lease; asks for a token of the operator" => Status(403, "cannot"), |a| {
        let (home, account) = (a.home.name.clone(), a.installed.name.clone());
        let token = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} });
        let answers = [
            a.tenant.get(&core(&home, &format!("secrets/{}", a.store))).await,
            a.tenant.get(&core(&home, "secrets/secretref-fingerprint-key")).await,
            a.tenant.get(&format!("/apis/coordination.k8s.io/v1/namespaces/{home}/leases/secretref")).await,
            a.tenant.merge(&format!("/apis/coordination.k8s.io/v1/namespaces/{home}/leases/secretref"), &json!({ "spec": { "holderIdentity": "me" } })).await,
            a.tenant.create(&core(&home, &format!("serviceaccounts/{account}/token")), &token).await,
            a.tenant.create(&core(&home, "configmaps"), &json!({ "metadata": { "name": "ring", "labels": { "secretref.dev/notifications": "true" } } })).await,
        ];
        answers.into_iter().for_each(|answer| a.refused(answer));
    }

    rights_for_itself: "makes a Role that binds organisations, reads stores of the platform or impersonates the operator" => Status(403, "attempting to grant"), |a| {
        let grants = [("secretref.dev", "organisations", "bind"), ("secretref.dev", "clustersecretstores", "get"), ("", "users", "impersonate"), ("secretref.dev", "secretreferences/status", "patch")];
        for (i, (group, resource, verb)) in grants.into_iter().enumerate() {
            let role = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": format!("more{i}") },
                "rules": [{ "apiGroups": [group], "resources": [resource], "verbs": [verb] }],
            });
            let answer = a.tenant.create(&roles(&a.space.name, "roles"), &role).await;
            a.refused(answer);
        }
    }

    status_of_its_own: "writes the status of its reference and of its store: another organisation, `Ready`" => Status(403, "status"), |a| {
        let spec = a.spec(one("KEY", "key"));
        a.space.reference("app", &spec).await;
        a.space.until_reason("app", "Synced").await;
        let patch = json!({ "status": { "org": a.victim_org, "observedGeneration": 9 } });
        let path = format!("{}/app/status", ours(&a.space.name, REFERENCES));
        let answers = [
            a.tenant.merge(&path, &patch).await,
            a.tenant.call("PATCH", &format!("{path}?fieldManager=secretref"), APPLY, &json!({ "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretReference", "metadata": { "name": "app" }, "status": { "org": a.victim_org } })).await,
            a.tenant.merge(&format!("{}/app/status", ours(&a.space.name, STORES)), &patch).await,
        ];
        answers.into_iter().for_each(|answer| a.refused(answer));
    }

    status_in_a_new_object: "creates a reference with a status that says it belongs to the other organisation" => Harmless("the status is dropped; it gets its own value"), |a| {
        let mut object = reference(&a.space.name, "app", a.spec(one("KEY", "key")));
        object["status"] = json!({ "org": a.victim_org, "observedGeneration": 1, "lastHandledSyncNow": "x" });
        a.tenant.create(&ours(&a.space.name, REFERENCES), &object).await.unwrap();
        a.own_value("app").await;
        let reference = a.space.until_reason("app", "Synced").await;
        assert_eq!(reference["status"]["org"], a.org);
    }

    labels_on_its_reference: "labels and annotates its reference, a Secret and a ServiceAccount with the other organisation" => Harmless("only the namespace's label counts; it gets its own value"), |a| {
        let marks = json!({ "secretref.dev/org": a.victim_org, "secretref.dev/managed": "true" });
        let mut object = reference(&a.space.name, "app", a.spec(one("KEY", "key")));
        object["metadata"]["labels"] = marks.clone();
        object["metadata"]["annotations"] = marks.clone();
        a.tenant.create(&ours(&a.space.name, REFERENCES), &object).await.unwrap();
        a.tenant.create(&core(&a.space.name, "serviceaccounts"), &json!({ "metadata": { "name": "marked", "labels": marks } })).await.unwrap();
        a.own_value("app").await;
    }

    forged_stamp: "forges the operator's stamp on a Secret of its own, so that it counts as made for the other organisation" => Harmless("what the operator finds there is replaced by the tenant's own value"), |a| {
        let spec = a.spec(one("KEY", "key"));
        a.space.reference("app", &spec).await;
        let made = a.space.until_data("app", &json!({ "KEY": a.own })).await;
        let stamp = made["metadata"]["annotations"]["stamp.secretref.dev/app"].as_str().expect("a stamp").to_owned();
        assert!(stamp.contains(&a.org), "{stamp}");
        let forged = stamp.replace(&a.org, &a.victim_org);
        let patch = json!({ "metadata": { "annotations": { "stamp.secretref.dev/app": forged } }, "data": { "KEY": "Zm9yZ2Vk" } });
        a.tenant.merge(&core(&a.space.name, "secrets/app"), &patch).await.unwrap();
        a.own_value("app").await;
        let events = a.space.events("SecretReference", "app").await;
        assert!(!events.iter().any(|(_, note)| note.contains(&a.value)), "{events:?}");
    }

    owner_is_anothers_reference: "names the other organisation's reference as owner of its reference and its Secret" => Harmless("an owner in another namespace is none: its objects are collected, the other's stay"), |a| {
        let victim = a.victim.get("SecretReference", "victim").await.unwrap();
        let owner = json!([{ "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretReference", "name": "victim", "uid": victim["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true }]);
        let mut object = reference(&a.space.name, "victim", a.spec(one("KEY", "key")));
        object["metadata"]["ownerReferences"] = owner.clone();
        let secret = json!({ "metadata": { "name": "victim", "ownerReferences": owner, "labels": { "secretref.dev/managed": "true" } } });
        // Refused or taken, it must not matter.
        let _ = a.tenant.create(&core(&a.space.name, "secrets"), &secret).await;
        let _ = a.tenant.create(&ours(&a.space.name, REFERENCES), &object).await;
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        let data = a.space.data("victim").await.unwrap_or_default();
        assert!(!data.to_string().contains(&a.value), "{data}");
        a.harmless();
    }

    sync_now_as_a_weapon: "puts 200 kB into the annotation `sync-now`" => Harmless("256 characters are kept; it gets its own value"), |a| {
        let mut object = reference(&a.space.name, "app", a.spec(one("KEY", "key")));
        object["metadata"]["annotations"] = json!({ "secretref.dev/sync-now": "\u{1b}[2J".to_owned() + &"é".repeat(100_000) });
        a.tenant.create(&ours(&a.space.name, REFERENCES), &object).await.unwrap();
        a.own_value("app").await;
        let reference = a.space.until_reason("app", "Synced").await;
        assert_eq!(reference["status"]["lastHandledSyncNow"].as_str().unwrap().chars().count(), 256);
    }

    change_of_the_target: "changes name, type and policy of a target once they are checked" => Status(422, "immutable"), |a| {
        let spec = a.spec(one("KEY", "key"));
        a.space.reference("app", &spec).await;
        let path = format!("{}/app", ours(&a.space.name, REFERENCES));
        for target in [json!({ "name": "default-token" }), json!({ "type": "kubernetes.io/basic-auth" }), json!({ "creationPolicy": "Merge" })] {
            let answer = a.tenant.merge(&path, &json!({ "spec": { "target": target } })).await;
            a.refused(answer);
        }
    }
}

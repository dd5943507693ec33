//! The label that binds a namespace to an organisation, from every side.

use serde_json::{Value, json};

use crate::{
    arena::{Arena, bind_admin, one},
    chart::kubectl,
    harness::{unique, wait_for},
    tenant::{APPLY, Answer, JSON, JSON_PATCH, STRATEGIC, Tenant},
};

const LABEL: &str = "secretref.dev/org";
const NAMESPACES: &str = "/api/v1/namespaces";

fn namespace(name: &str, org: &str) -> Value {
    let labels = if org.is_empty() { json!({}) } else { json!({ LABEL: org }) };
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
}

/// Gives somebody these rules everywhere.
async fn grant(arena: &Arena, subject: Value, rules: Value) -> String {
    let name = format!("redteam-{}", unique());
    let labels = json!({ "app.kubernetes.io/name": "redteam" });
    let group = "rbac.authorization.k8s.io";
    let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": { "name": name, "labels": labels }, "rules": rules },
        { "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": { "name": name, "labels": labels },
          "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": name }, "subjects": [subject] },
    ] });
    let _ = arena;
    kubectl(&["apply", "-f", "-"], &objects.to_string());
    name
}

fn taken_back(role: &str) {
    kubectl(&["delete", "clusterrole,clusterrolebinding", role], "");
}

fn user(name: &str) -> Value {
    json!({ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name })
}

/// Whoever may do everything with namespaces, but binds no organisation.
async fn manager(arena: &Arena) -> (Tenant, String) {
    let name = format!("manager-{}", unique());
    let all = json!([{ "apiGroups": [""], "resources": ["namespaces", "namespaces/status", "namespaces/finalize"], "verbs": ["*"] }]);
    let role = grant(arena, user(&name), all).await;
    let manager = Tenant::new(&name, &[]).await;
    policy_holds(arena, &manager).await;
    (manager, role)
}

/// A controller that applies what is in a repository: everything on namespaces and on what is in them, but no `bind`.
async fn gitops(arena: &Arena) -> (Tenant, String) {
    let (namespace, name) = (arena.home.name.clone(), "gitops");
    let rules = json!([
        { "apiGroups": ["", "apps", "secretref.dev"], "resources": ["*"], "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"] },
    ]);
    let role = grant(arena, json!({ "kind": "ServiceAccount", "name": name, "namespace": namespace }), rules).await;
    let gitops = Tenant::new(&format!("system:serviceaccount:{namespace}:{name}"), &["system:serviceaccounts"]).await;
    policy_holds(arena, &gitops).await;
    (gitops, role)
}

async fn policy_holds(arena: &Arena, who: &Tenant) {
    let labelled = namespace(&format!("probe-{}", unique()), &arena.victim_org);
    wait_for("the policy is in force", || async {
        match who.create(&format!("{NAMESPACES}?dryRun=All"), &labelled).await {
            Err((403, message)) if message.contains("needs the right to bind") => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    })
    .await;
}

/// All ways to change a label: those of an update and of every patch, on the object and its subresources.
async fn all_ways(who: &Tenant, name: &str, org: &str) -> Vec<(String, Answer)> {
    let mut answers = Vec::new();
    let labels = json!({ "metadata": { "labels": { LABEL: org } } });
    let pointer = format!("/metadata/labels/{}", LABEL.replace('/', "~1"));
    for sub in ["", "/status"] {
        let path = format!("{NAMESPACES}/{name}{sub}");
        answers.push((format!("merge {sub}"), who.merge(&path, &labels).await));
        answers.push((format!("strategic {sub}"), who.call("PATCH", &path, STRATEGIC, &labels).await));
        let operations = json!([{ "op": "add", "path": pointer, "value": org }]);
        answers.push((format!("json patch {sub}"), who.call("PATCH", &path, JSON_PATCH, &operations).await));
        let forced = format!("{path}?fieldManager=gitops&force=true");
        answers.push((format!("apply {sub}"), who.call("PATCH", &forced, APPLY, &namespace(name, org)).await));
    }
    for sub in ["", "/status", "/finalize"] {
        let path = format!("{NAMESPACES}/{name}");
        // Who may not even read it makes an update up.
        let mut whole = who.get(&path).await.unwrap_or_else(|_| namespace(name, org));
        whole["metadata"]["labels"][LABEL] = json!(org);
        answers.push((format!("update {sub}"), who.call("PUT", &format!("{path}{sub}"), JSON, &whole).await));
    }
    answers
}

async fn still_bound(arena: &Arena) {
    let now = arena.cluster.get("Namespace", None, &arena.space.name).await.unwrap();
    assert_eq!(now["metadata"]["labels"][LABEL], arena.org, "the label was changed");
}

attempts! {
    project_admin_relabels: "changes the label of its namespace in every way, deletes the namespace, makes another" => Status(403, "cannot"), |a| {
        let (name, org) = (a.space.name.clone(), a.victim_org.clone());
        for (_, answer) in all_ways(&a.tenant, &name, &org).await {
            a.refused(answer);
        }
        let gone = a.tenant.call("DELETE", &format!("{NAMESPACES}/{name}"), JSON, &Value::Null).await;
        a.refused(gone);
        let made = a.tenant.create(NAMESPACES, &namespace("another", &org)).await;
        a.refused(made);
        still_bound(&a).await;
    }

    namespace_manager_relabels: "has every right on namespaces, and changes the label by update, patch and apply, through `status` and `finalize`" => Status(403, "needs the right to bind"), |a| {
        let (manager, role) = manager(&a).await;
        let (name, org) = (a.space.name.clone(), a.victim_org.clone());
        for (_, answer) in all_ways(&manager, &name, &org).await {
            a.refused(answer);
        }
        for other in ["nobody", "", "GLOBAL", "UPPER"] {
            let answer = manager.merge(&format!("{NAMESPACES}/{name}"), &json!({ "metadata": { "labels": { LABEL: other } } })).await;
            a.refused(answer);
        }
        let none = json!({ "metadata": { "labels": null } });
        let answer = manager.merge(&format!("{NAMESPACES}/{name}"), &none).await;
        a.refused(answer);
        still_bound(&a).await;
        taken_back(&role);
    }

    gitops_relabels: "has a GitOps controller apply a Namespace with the label from its repository" => Status(403, "needs the right to bind"), |a| {
        let (gitops, role) = gitops(&a).await;
        let (name, org) = (a.space.name.clone(), a.victim_org.clone());
        for (what, answer) in all_ways(&gitops, &name, &org).await {
            // It has no right to `finalize`... which `*` gives, too: the policy answers.
            let _ = what;
            a.refused(answer);
        }
        still_bound(&a).await;
        taken_back(&role);
    }

    born_with_the_label: "makes namespaces that have the label from the start: by create, by apply, by a generated name" => Status(403, "needs the right to bind"), |a| {
        let (manager, role) = manager(&a).await;
        let (gitops, second) = gitops(&a).await;
        let org = a.victim_org.clone();
        for who in [&manager, &gitops] {
            let name = format!("born-{}", unique());
            let answers = [
                who.create(NAMESPACES, &namespace(&name, &org)).await,
                who.call("PATCH", &format!("{NAMESPACES}/{name}?fieldManager=x&force=true"), APPLY, &namespace(&name, &org)).await,
                who.create(NAMESPACES, &json!({ "metadata": { "generateName": "born-", "labels": { LABEL: org } } })).await,
                who.create(NAMESPACES, &namespace(&name, &a.org)).await,
            ];
            answers.into_iter().for_each(|answer| a.refused(answer));
            assert!(a.cluster.get("Namespace", None, &name).await.is_none());
        }
        taken_back(&role);
        taken_back(&second);
    }

    recreated_with_the_label: "deletes its namespace and makes it again, as the other organisation's and as its own" => Status(403, "needs the right to bind"), |a| {
        let (manager, role) = manager(&a).await;
        gone(&a, &manager).await;
        let (name, orgs) = (a.space.name.clone(), [a.victim_org.clone(), a.org.clone()]);
        for org in orgs {
            let answer = manager.create(NAMESPACES, &namespace(&name, &org)).await;
            a.refused(answer);
        }
        taken_back(&role);
    }

    recreated_without_the_label: "deletes its namespace, makes it again without the label, and hopes that the former one is remembered" => Reason("OrgNotBound", "bound to no organisation"), |a| {
        let spec = a.spec(one("KEY", "key"));
        a.space.reference("app", &spec).await;
        a.space.until_data("app", &json!({ "KEY": a.own })).await;
        let (manager, role) = manager(&a).await;
        gone(&a, &manager).await;
        manager.create(NAMESPACES, &namespace(&a.space.name, "")).await.unwrap();
        bind_admin(&a.space, &a.tenant).await;
        a.submit("app", one("KEY", "key")).await;
        a.submit("other", one("KEY", "key")).await;
        assert!(a.space.data("app").await.is_none());
        taken_back(&role);
    }

    labels_that_look_like_it: "has every right on namespaces, and sets labels that look like it" => Harmless("the binding is what it was: it gets its own value"), |a| {
        let (manager, role) = manager(&a).await;
        for key in ["secretref.dev/Org", "secretref.dev/org.", "secretref.dev/organisation", "x.secretref.dev/org", "org"] {
            let labels = json!({ "metadata": { "labels": { key: a.victim_org } } });
            let _ = manager.merge(&format!("{NAMESPACES}/{}", a.space.name), &labels).await;
        }
        let annotations = json!({ "metadata": { "annotations": { LABEL: a.victim_org } } });
        manager.merge(&format!("{NAMESPACES}/{}", a.space.name), &annotations).await.unwrap();
        let spec = a.spec(one("KEY", "key"));
        a.space.reference("app", &spec).await;
        a.own_value("app").await;
        taken_back(&role);
    }
}

/// Deletes the attacker's namespace and waits until it is gone.
async fn gone(arena: &Arena, who: &Tenant) {
    let path = format!("{NAMESPACES}/{}", arena.space.name);
    who.call("DELETE", &path, JSON, &Value::Null).await.unwrap();
    wait_for("the namespace is gone", || async {
        match arena.cluster.get("Namespace", None, &arena.space.name).await {
            None => Ok(()),
            Some(still) => Err(still["status"].to_string()),
        }
    })
    .await;
}

const ALLOWED: crate::table::Row = crate::table::Row {
    name: "who_may_bind_binds",
    does: "has the right to bind one organisation",
    refusal: crate::table::Refusal::Status(403, "needs the right to bind"),
};

/// The policy is no wall: who may bind an organisation binds it, in every way, and no other one.
#[tokio::test]
async fn who_may_bind_an_organisation_binds_it_and_no_other() {
    let mut a = Arena::new(&ALLOWED).await;
    let (manager, role) = manager(&a).await;
    let mine = json!([{ "apiGroups": ["secretref.dev"], "resources": ["organisations"], "resourceNames": [a.org, "mine"], "verbs": ["bind"] }]);
    let bind = grant(&a, user(&manager.user), mine).await;
    let name = a.space.name.clone();
    wait_for("the right to bind is known", || async {
        let patch = json!({ "metadata": { "labels": { LABEL: "mine" } } });
        manager.merge(&format!("{NAMESPACES}/{name}?dryRun=All"), &patch).await.map_err(|(_, message)| message)
    })
    .await;
    for org in ["mine", &a.org.clone()] {
        for (way, answer) in all_ways(&manager, &name, org).await {
            assert!(answer.is_ok(), "{way} to {org}: {answer:?}");
        }
    }
    let foreign = a.victim_org.clone();
    for (_, answer) in all_ways(&manager, &name, &foreign).await {
        a.refused(answer);
    }
    still_bound(&a).await;
    taken_back(&role);
    taken_back(&bind);
    a.nothing_crossed().await;
}

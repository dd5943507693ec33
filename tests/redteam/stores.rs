//! Stores of the tenant's own, which the platform allows for OpenBao and one more host: whose credentials they take, and
//! where they may connect to.

use serde_json::{Value, json};

use crate::{
    arena::{Arena, reference, secret},
    harness::{condition, plant_credential, wait_for},
    tenant::{JSON, REFERENCES, STORES, core, ours},
};

fn token(name: &str) -> Value {
    json!({ "token": { "secretRef": { "name": name, "key": "token" } } })
}

/// A vault at this address that logs in by a Secret of the tenant's own.
fn at(arena: &Arena, address: &str) -> Value {
    let mut vault = arena.bao.provider();
    vault["address"] = json!(address);
    vault["auth"] = token("mine");
    json!({ "vault": vault })
}

/// The same at OpenBao with other fields.
fn bao(arena: &Arena, fields: Value) -> Value {
    let mut provider = at(arena, &arena.bao.address);
    for (key, value) in fields.as_object().unwrap() {
        provider["vault"][key] = value.clone();
    }
    provider
}

/// The tenant's own token at OpenBao: it may read its organisation's keys.
async fn own_token(arena: &Arena) {
    let policy = format!("path \"secret/data/{}--*\" {{ capabilities = [\"read\"] }}", arena.org);
    arena.bao.policy("tenant", &policy).await;
    let token = arena.bao.token(&["tenant"]).await;
    arena.space.secret("mine", &json!({ "token": token })).await;
}

attempts! {
    own_store_is_its_own: "makes a store on the platform's OpenBao with a token of its own, and asks for the other organisation's names" => Harmless("its own names by its own token; others have no way into a store key"), |a| {
        own_token(&a).await;
        let provider = bao(&a, json!({}));
        a.own_store("mine", provider).await.unwrap();
        let mut spec = a.spec(json!({ "data": [secret("KEY", "key")] }));
        spec["storeRef"] = json!({ "name": "mine", "kind": "SecretStore" });
        a.space.reference("app", &spec).await;
        a.own_value("app").await;
    }

    own_store_as_another_org: "does the same with `tenancy`, which says that it is the other organisation" => Status(400, "unknown field"), |a| {
        let object = json!({
            "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretStore", "metadata": { "name": "mine" },
            "spec": { "provider": bao(&a, json!({})), "tenancy": { "orgFrom": { "org": a.victim_org }, "namespaceSelector": {} } },
        });
        let answer = a.tenant.create(&ours(&a.space.name, STORES), &object).await;
        a.refused(answer);
    }

    own_store_that_may_not_read: "its token at OpenBao may read nothing of its organisation" => Reason("PermissionDenied", "--key"), |a| {
        a.bao.policy("nothing", "path \"secret/data/other--*\" { capabilities = [\"read\"] }").await;
        a.space.secret("mine", &json!({ "token": a.bao.token(&["nothing"]).await })).await;
        let provider = bao(&a, json!({}));
        a.own_store("mine", provider).await.unwrap();
        a.by_own_store("app", "mine").await;
    }

    credentials_of_the_platform: "names credentials and CA in the platform's namespace" => Status(400, "unknown field"), |a| {
        let home = a.home.name.clone();
        let source = json!({ "name": a.store, "namespace": home, "key": "token" });
        let ca = json!({ "kind": "Secret", "name": "ca", "namespace": home, "key": "ca.crt" });
        for (i, fields) in [
            json!({ "auth": { "token": { "secretRef": source } } }),
            json!({ "auth": { "appRole": { "roleId": "x", "secretId": { "secretRef": source } } } }),
            json!({ "auth": { "jwt": { "role": "x", "jwt": { "secretRef": source } } } }),
            json!({ "caBundle": null, "caRef": ca }),
        ].into_iter().enumerate() {
            let provider = bao(&a, fields);
            let answer = a.own_store(&format!("store{i}"), provider).await;
            a.refused(answer);
        }
        let answer = a.own_store("kubernetes", json!({ "kubernetes": { "namespace": home } })).await;
        a.refused(answer);
    }

    credentials_of_the_platform_unchecked: "does the same without strict validation" => Reason("StoreNotReady", "status says why"), |a| {
        let source = json!({ "name": a.store, "namespace": a.home.name, "key": "token" });
        let provider = bao(&a, json!({ "auth": { "token": { "secretRef": source } } }));
        let object = json!({ "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretStore", "metadata": { "name": "mine" }, "spec": { "provider": provider, "healthCheckInterval": "1s" } });
        a.tenant.call("POST", &format!("{}?fieldValidation=Ignore", ours(&a.space.name, STORES)), JSON, &object).await.unwrap();
        a.by_own_store("app", "mine").await;
        let (name, home) = (a.space.name.clone(), a.home.name.clone());
        let store = a.space.until("SecretStore", "mine", "says whose Secret is missing", |s| {
            condition(s, "Ready")["message"].as_str().is_some_and(|m| m.contains(&format!("Secret {name}/")))
        }).await;
        assert!(!store["status"].to_string().contains(&home), "{store}");
    }

    kubernetes_store_of_anothers: "makes a `kubernetes` store, and has the namespace of the other organisation or the platform dropped into it" => Reason("SecretNotFound", ""), |a| {
        let org = a.org.clone();
        a.home.secret(&format!("{org}--key"), &json!({ "value": a.value })).await;
        let object = json!({ "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretStore", "metadata": { "name": "mine" }, "spec": { "provider": { "kubernetes": { "namespace": a.home.name } }, "healthCheckInterval": "1s" } });
        a.tenant.call("POST", &format!("{}?fieldValidation=Ignore", ours(&a.space.name, STORES)), JSON, &object).await.unwrap();
        a.by_own_store("app", "mine").await;
        a.home.delete("Secret", &format!("{org}--key")).await;
    }

    operator_as_identity: "logs in as the operator: managed identity, developer tools, no account, the operator's environment" => Status(422, ""), |a| {
        let azure = |auth: Value| json!({ "azureKeyVault": { "vaultUrl": "https://x.vault.azure.net", "auth": auth } });
        let kubernetes = |auth: Value| json!({ "auth": { "kubernetes": auth } });
        let mut providers = vec![
            json!({ "azureKeyVault": { "vaultUrl": "https://x.vault.azure.net" } }),
            azure(json!({})),
            azure(json!({ "workloadIdentity": {} })),
            azure(json!({ "workloadIdentity": { "tenantId": "t", "clientId": "c" } })),
        ];
        for auth in [json!({ "role": "r" }), json!({ "role": "r", "audiences": ["vault"] }), json!({ "role": "r", "serviceAccountRef": { "name": "robot" } })] {
            providers.push(bao(&a, kubernetes(auth)));
        }
        for (i, mut provider) in providers.into_iter().enumerate() {
            if provider["vault"]["auth"]["kubernetes"].is_object() {
                provider["vault"]["auth"].as_object_mut().unwrap().remove("token");
            }
            let answer = a.own_store(&format!("store{i}"), provider).await;
            a.refused(answer);
        }
    }

    identities_that_are_not_there: "writes `managedIdentity` and `developerTools` all the same" => Status(400, "unknown field"), |a| {
        for (i, auth) in [json!({ "managedIdentity": {} }), json!({ "developerTools": {} }), json!({ "clientSecret": { "tenantId": "t", "clientId": "c", "clientSecret": { "secretRef": { "name": "mine", "namespace": "kube-system", "key": "k" } } } })].into_iter().enumerate() {
            let answer = a.own_store(&format!("store{i}"), json!({ "azureKeyVault": { "vaultUrl": "https://x.vault.azure.net", "auth": auth } })).await;
            a.refused(answer);
        }
    }

    token_for_the_api_server: "asks for a token of its ServiceAccount with the API server's audience" => Status(422, "must not name the API server"), |a| {
        for (i, audience) in ["https://kubernetes.default.svc.cluster.local", "https://kubernetes.default.svc", "kubernetes", "kubernetes.default.svc:443"].into_iter().enumerate() {
            let auth = json!({ "kubernetes": { "role": "r", "serviceAccountRef": { "name": "robot" }, "audiences": ["vault", audience] } });
            let provider = bao(&a, json!({ "auth": auth }));
            let answer = a.own_store(&format!("store{i}"), provider).await;
            a.refused(answer);
        }
    }

    account_as_a_path: "names the ServiceAccount `../../PLATFORM/serviceaccounts/operator`" => Status(422, ""), |a| {
        let (home, account) = (a.home.name.clone(), a.installed.name.clone());
        for (i, name) in [format!("../../{home}/serviceaccounts/{account}"), format!("{home}/{account}"), format!("{home}:{account}"), "Robot".to_owned(), "robot?x".to_owned()].into_iter().enumerate() {
            let auth = json!({ "kubernetes": { "role": "r", "serviceAccountRef": { "name": name }, "audiences": ["vault"] } });
            let provider = bao(&a, json!({ "auth": auth }));
            let answer = a.own_store(&format!("store{i}"), provider).await;
            a.refused(answer);
        }
    }

    internal_addresses: "points its store at 169.254.169.254, kubernetes.default, localhost, the operator itself, IPv6, decimal and octal addresses" => Reason("StoreNotReady", "not one that tenants' stores may use"), |a| {
        let bao = a.bao.address.clone();
        let (host, port) = bao.strip_prefix("https://").unwrap().rsplit_once(':').unwrap();
        let hosts = ["https://169.254.169.254", "https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local:443", "https://localhost", "https://127.0.0.1:1", "https://[::1]:8200", "https://2130706433", "https://0177.0.0.1", "https://0x7f.1", "https://metadata.google.internal", "https://169.254.169.254/latest/meta-data"];
        let operator = format!("https://{}", a.operator.metrics_addr);
        let addresses = hosts.iter().map(|h| (*h).to_owned()).chain([operator, format!("https://127.0.0.2:{port}"), format!("{bao}0"), format!("https://{host}.:{port}")]);
        for (i, address) in addresses.enumerate() {
            let provider = at(&a, &address);
            a.own_store(&format!("store{i}"), provider).await.unwrap();
            a.by_own_store(&format!("app{i}"), &format!("store{i}")).await;
        }
    }

    allowed_host_as_a_disguise: "writes the allowed host where it is not the host: `allowed@evil`, `evil#allowed`, `allowed.evil`, backslashes" => Status(422, ""), |a| {
        let allowed = a.bao.address.strip_prefix("https://").unwrap().to_owned();
        for (i, address) in ["https://ALLOWED@evil.example", "https://evil.example#ALLOWED", "https://evil.example?ALLOWED", "http://ALLOWED", "HTTPS://ALLOWED", "https:/\\ALLOWED", "https://user:pw@ALLOWED", "ftp://ALLOWED", "https://ALLOWED\n", "https://ALLOWED /", "file:///etc/passwd"].into_iter().enumerate() {
            let provider = at(&a, &address.replace("ALLOWED", &allowed));
            let answer = a.own_store(&format!("store{i}"), provider).await;
            a.refused(answer);
        }
    }

    almost_the_allowed_host: "names `allowed.evil.example`, `evil.example\\@allowed` and an allowed host on another port" => Reason("StoreNotReady", "not one that tenants' stores may use"), |a| {
        let allowed = a.bao.address.strip_prefix("https://").unwrap().to_owned();
        let host = allowed.split(':').next().unwrap().to_owned();
        for (i, address) in [format!("https://{allowed}.evil.example"), format!("https://evil.example\\{allowed}"), format!("https://{allowed}\\evil.example"), format!("https://{host}:22"), format!("https://{host}"), format!("https://{allowed},evil.example"), format!("https://{allowed}%2eevil.example")].into_iter().enumerate() {
            let provider = at(&a, &address);
            a.own_store(&format!("store{i}"), provider).await.unwrap();
            a.by_own_store(&format!("app{i}"), &format!("store{i}")).await;
        }
    }

    paths_at_the_allowed_host: "uses mounts and namespaces of OpenBao as a way up" => Status(422, ""), |a| {
        for (i, fields) in [json!({ "mount": "../sys" }), json!({ "mount": "secret/../../sys" }), json!({ "namespace": "../root" }), json!({ "mount": "secret?x" }), json!({ "namespace": "a\r\nX-Vault-Token: x" }), json!({ "auth": { "appRole": { "mountPath": "../sys", "roleId": "x", "secretId": { "secretRef": { "name": "mine", "key": "k" } } } } })].into_iter().enumerate() {
            let provider = bao(&a, fields);
            let answer = a.own_store(&format!("store{i}"), provider).await;
            a.refused(answer);
        }
    }

    authority_of_its_own: "has an allowed vault URL, and an `authorityHost` of its own that would get the client secret" => Reason("StoreNotReady", "not one that tenants' stores may use"), |a| {
        let allowed = a.bao.address.clone();
        a.space.secret("mine", &json!({ "secret": plant_credential("canary-client-secret") })).await;
        for (i, authority) in ["https://169.254.169.254", "https://evil.example", "https://login.microsoftonline.com.evil.example"].into_iter().enumerate() {
            let client = json!({ "tenantId": "t", "clientId": "c", "clientSecret": { "secretRef": { "name": "mine", "key": "secret" } } });
            let provider = json!({ "azureKeyVault": { "vaultUrl": allowed, "authorityHost": authority, "auth": { "clientSecret": client } } });
            a.own_store(&format!("store{i}"), provider).await.unwrap();
            a.by_own_store(&format!("app{i}"), &format!("store{i}")).await;
        }
    }

    store_of_anothers_namespace: "refers to a store in the other organisation's namespace by its name" => Reason("StoreNotFound", "does not exist or does not admit"), |a| {
        let mut vault = a.bao.provider();
        vault["auth"] = token("mine");
        let there = json!({ "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretStore", "metadata": { "name": "theirs", "namespace": a.victim.name }, "spec": { "provider": { "vault": vault } } });
        a.cluster.apply(&there).await;
        a.by_own_store("app", "theirs").await;
    }

    anothers_service_account: "has a role at OpenBao that is bound to the platform's ServiceAccount, and an account of the same name" => Reason("AuthenticationFailed", ""), |a| {
        let account = a.installed.name.clone();
        kubernetes_login(&a, &account, &a.home.name).await;
        logs_in(&mut a, &account).await;
        a.by_own_store("app", "mine").await;
    }

    own_service_account: "logs in at OpenBao as a ServiceAccount of its own, which a role is bound to" => Harmless("its own values by its own identity, with the audience it named"), |a| {
        kubernetes_login(&a, "robot", &a.space.name).await;
        logs_in(&mut a, "robot").await;
        let mut spec = a.spec(json!({ "data": [secret("KEY", "key")] }));
        spec["storeRef"] = json!({ "name": "mine", "kind": "SecretStore" });
        let object = reference(&a.space.name, "app", spec);
        a.tenant.create(&ours(&a.space.name, REFERENCES), &object).await.unwrap();
        a.own_value("app").await;
    }
}

/// Kubernetes auth at OpenBao as docs/stores.md has it, with a role for one ServiceAccount.
async fn kubernetes_login(arena: &Arena, account: &str, namespace: &str) {
    let reviewer = format!("reviewer-{}", arena.space.name);
    let group = "rbac.authorization.k8s.io";
    let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "reviewer", "namespace": arena.victim.name } },
        { "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding",
          "metadata": { "name": reviewer, "labels": { "app.kubernetes.io/name": "redteam" } },
          "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": "system:auth-delegator" },
          "subjects": [{ "kind": "ServiceAccount", "name": "reviewer", "namespace": arena.victim.name }] },
    ] });
    crate::chart::kubectl(&["apply", "-f", "-"], &objects.to_string());
    let jwt = crate::chart::kubectl(&["create", "token", "reviewer", "-n", &arena.victim.name], "");
    let view = crate::chart::kubectl(&["config", "view", "--raw", "--minify", "--flatten", "-o", "json"], "");
    let view: Value = serde_json::from_str(&view).unwrap();
    let cluster = &view["clusters"][0]["cluster"];
    let ca = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        cluster["certificate-authority-data"].as_str().unwrap(),
    );
    let ca = String::from_utf8(ca.unwrap()).unwrap();
    let post = reqwest::Method::POST;
    arena.bao.must(post.clone(), "sys/auth/kubernetes", json!({ "type": "kubernetes" })).await;
    let config = json!({ "kubernetes_host": cluster["server"], "kubernetes_ca_cert": ca, "token_reviewer_jwt": jwt.trim(), "disable_local_ca_jwt": true });
    arena.bao.must(post.clone(), "auth/kubernetes/config", config).await;
    let policy = format!("path \"secret/data/{}--*\" {{ capabilities = [\"read\"] }}", arena.org);
    arena.bao.policy("tenant", &policy).await;
    let role = json!({ "bound_service_account_names": account, "bound_service_account_namespaces": namespace, "audience": "vault.example", "token_policies": "tenant" });
    arena.bao.must(post, "auth/kubernetes/role/tenant", role).await;
}

/// The tenant's ServiceAccount and a store that logs in as it.
async fn logs_in(arena: &mut Arena, account: &str) {
    arena
        .tenant
        .create(&core(&arena.space.name, "serviceaccounts"), &json!({ "metadata": { "name": account } }))
        .await
        .unwrap();
    let auth = json!({ "kubernetes": { "role": "tenant", "serviceAccountRef": { "name": account }, "audiences": ["vault.example"] } });
    let provider = bao(arena, json!({ "auth": auth }));
    arena.own_store("mine", provider).await.unwrap();
    let space = arena.space.clone();
    wait_for("the store was probed", || async {
        let store = space.get("SecretStore", "mine").await.unwrap();
        if condition(&store, "Ready").is_null() { Err(store.to_string()) } else { Ok(()) }
    })
    .await;
}

//! A reference, a store in memory and an API server on paper: what the tests of the pure parts stand on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::{
    api::{CreationPolicy, Layout, NameStyle, SecretReference, SecretReferenceSpec, SecretReferenceStatus, Tenancy},
    naming::Scheme,
    operator::{
        model::{ObjectKey, Reference},
        plan::{Action, Observed, StoreSeen, Write, gate, halt, plan},
        stamp::Fingerprints,
        target::{TargetMeta, manager},
    },
    resolve::{Answer, Answers, Policy, Problem, Read, Resolved, Step, Tenant, resolve},
    secret::SecretValue,
    stores::{ChangeToken, Failure, Payload, Property, StoreError, Stored},
};

/// Every value of a store and of a spec starts with it, so that a leak is found in any text.
pub const MARK: &str = "hush-";

pub const SCHEME: Scheme = Scheme {
    layout: Layout::Flat,
    style: NameStyle::Kebab,
    folders: true,
    lowercase: false,
    variables: false,
    max_len: 512,
};

/// What the store says about a key that it has.
pub type Content = Result<std::collections::BTreeMap<String, Option<String>>, Failure>;

/// All that one attempt looks at.
#[derive(Clone, Debug)]
pub struct World {
    pub spec: SecretReferenceSpec,
    pub generation: i64,
    pub uid: String,
    pub status: SecretReferenceStatus,
    pub labels: std::collections::BTreeMap<String, String>,
    pub tenancy: Option<Tenancy>,
    pub blocked: Option<Problem>,
    pub target: Option<TargetMeta>,
    pub store: std::collections::BTreeMap<String, Content>,
    pub installation: String,
}

impl World {
    /// A bound namespace, a store that is empty, no target.
    pub fn new(spec: &str) -> Self {
        Self {
            spec: serde_saphyr::from_str(&format!("storeRef: {{ name: main }}\n{spec}")).unwrap(),
            generation: 1,
            uid: "uid-1".into(),
            status: SecretReferenceStatus::default(),
            labels: [("secretref.dev/org".to_owned(), "acme".to_owned())].into(),
            tenancy: Some(Tenancy::default()),
            blocked: None,
            target: None,
            store: Default::default(),
            installation: "an installation's key, 32 bytes!".into(),
        }
    }

    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.store.insert(key.to_owned(), Ok([("value".to_owned(), Some(value.to_owned()))].into()));
        self
    }

    pub fn reference(&self) -> Reference {
        let object: SecretReference = serde_json::from_value(json!({
            "apiVersion": "secretref.dev/v1alpha1",
            "kind": "SecretReference",
            "metadata": { "name": "payments", "namespace": "acme-prod", "uid": self.uid, "generation": self.generation },
            "spec": self.spec,
        }))
        .unwrap();
        Reference::new(ObjectKey::of(&object.metadata), &object).unwrap()
    }

    /// Shows the world to a function.
    pub fn seen<T>(&self, look: impl FnOnce(&Observed<'_>) -> T) -> T {
        let (reference, prints) = (self.reference(), Fingerprints::new(&self.installation.clone().into()));
        look(&Observed {
            reference: &reference,
            spec: &self.spec,
            status: &self.status,
            labels: &self.labels,
            store: match &self.tenancy {
                None => StoreSeen::Missing,
                Some(tenancy) => StoreSeen::Found { tenancy, scheme: &SCHEME, blocked: self.blocked.as_ref() },
            },
            target: self.target.as_ref(),
            policy: &Policy::default(),
            prints: &prints,
        })
    }

    /// What the store makes of the spec.
    pub fn resolve(&self, tenant: &Tenant) -> Result<Resolved, Problem> {
        let mut answers = Answers::new();
        loop {
            match resolve(&self.spec, tenant, &SCHEME, &answers) {
                Step::Ask(reads) => answers.extend(reads.into_iter().map(|r| (r.clone(), self.answer(&r)))),
                Step::Done(resolved) => return Ok(resolved),
                Step::Failed(problem) => return Err(problem),
            }
        }
    }

    /// One attempt, as the worker makes it.
    pub fn attempt(&self) -> Action {
        self.seen(|o| match gate(o) {
            Err(problem) => halt(o, problem),
            Ok((tenant, _)) => plan(o, &tenant, self.resolve(&tenant), &[], Default::default()),
        })
    }

    fn answer(&self, read: &Read) -> Answer {
        let key = match read {
            Read::List(prefix) => {
                let keys = self.store.keys().filter(|k| k.starts_with(prefix.as_str()));
                return Answer::Listed(Arc::new(keys.map(crate::naming::StoreKey::verbatim).collect()));
            }
            Read::Key(key, _) => key.as_str(),
        };
        let property = |v: &Option<String>| v.clone().map_or(Property::Null, |v| Property::Text(SecretValue::from(v)));
        match self.store.get(key) {
            None => Answer::Absent,
            Some(Err(failure)) => Answer::Failed(StoreError::new(*failure, "it broke: mend it")),
            Some(Ok(map)) => Answer::Present(Some(Arc::new(Stored {
                payload: Payload::Map(map.iter().map(|(k, v)| (k.clone(), property(v))).collect()),
                version: Some("7".into()),
                token: ChangeToken::new("t"),
                warning: None,
            }))),
        }
    }
}

/// The Secret's metadata after a server-side apply of `write`, made from the very body that is sent. `before`: what
/// was there, with other managers' entries.
pub fn applied(reference: &Reference, write: &Write, before: Option<&ObjectMeta>) -> ObjectMeta {
    let body = json!(write.desired.body(reference, &write.stamp, &write.precondition));
    let holds = |map: &Value| -> Value {
        map.as_object().into_iter().flatten().map(|(k, _)| (format!("f:{k}"), json!({}))).collect()
    };
    let mut fields = json!({
        "f:data": holds(&body["data"]),
        "f:metadata": { "f:annotations": holds(&body["metadata"]["annotations"]), "f:labels": holds(&body["metadata"]["labels"]) },
    });
    for owner in body["metadata"]["ownerReferences"].as_array().into_iter().flatten() {
        fields["f:metadata"]["f:ownerReferences"] = json!({ format!("k:{{\"uid\":{}}}", owner["uid"]): {} });
    }
    for field in ["type", "immutable"] {
        if body.get(field).is_some() {
            fields[format!("f:{field}")] = json!({});
        }
    }
    let manager = manager(&reference.key.name, write.policy);
    let entry = json!({
        "manager": manager, "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "time": "2026-01-01T00:00:00Z", "fieldsV1": fields,
    });
    let mut meta = json!(before.cloned().unwrap_or_default());
    let mut entries = meta["managedFields"].as_array().cloned().unwrap_or_default();
    entries.retain(|e| e["manager"] != json!(manager) || e["operation"] != "Apply");
    entries.push(entry);
    meta["managedFields"] = json!(entries);
    if meta.get("uid").is_none() {
        meta["uid"] = body["metadata"].get("uid").cloned().unwrap_or(json!("secret-uid"));
    }
    for map in ["labels", "annotations"] {
        let mut all = meta[map].as_object().cloned().unwrap_or_default();
        all.extend(body["metadata"][map].as_object().cloned().unwrap_or_default());
        meta[map] = json!(all);
    }
    // A list-map by uid: what other owners there are stays; our dead ones go with the manager's former entry.
    if let Some(owners) = body["metadata"].get("ownerReferences") {
        meta["ownerReferences"] = owners.clone();
    }
    meta["resourceVersion"] = json!("42");
    serde_json::from_value(meta).unwrap()
}

/// A value, never an empty one.
pub fn value() -> impl Strategy<Value = String> {
    (0..6_u32).prop_map(|n| format!("{MARK}{n}"))
}

/// Any store of three names for two organisations and everyone. Most of it is fine: else hardly anything would be written.
pub fn store() -> impl Strategy<Value = std::collections::BTreeMap<String, Content>> {
    let failures = select(vec![Failure::Unavailable, Failure::Denied, Failure::RateLimited(None), Failure::Disabled]);
    let property = || prop_oneof![40 => value().prop_map(Some), 1 => Just(Some(String::new())), 1 => Just(None)];
    let map = [property(), property(), property()]
        .prop_map(|values| ["value", "tls.key", "tls.crt"].map(str::to_owned).into_iter().zip(values).collect());
    let content =
        prop_oneof![20 => map.prop_map(|m| Some(Ok(m))), 5 => Just(None), 1 => failures.prop_map(|f| Some(Err(f)))];
    vec(content, 9).prop_map(|contents| {
        let keys =
            ["acme", "beta", "GLOBAL"].into_iter().flat_map(|o| ["db", "api", "web"].map(|n| format!("{o}--{n}")));
        keys.zip(contents).filter_map(|(key, content)| Some((key, content?))).collect()
    })
}

fn entry() -> impl Strategy<Value = Value> {
    let key = prop_oneof![30 => select(vec!["A", "B", "C", "tls.key", "tls.crt", "username"]), 1 => Just("..bad")];
    let secret = (
        prop_oneof![30 => select(vec!["db", "api", "web"]), 1 => Just("Not-A-Name")],
        option::weighted(0.3, prop_oneof![20 => select(vec!["tls.key", "tls.crt"]), 1 => Just("gone")]),
        option::weighted(0.3, any::<bool>()),
        option::weighted(0.2, select(vec!["Org", "Global", "OrgThenGlobal"])),
        option::weighted(0.02, Just("Base64")),
    );
    let secret = secret.prop_map(|(name, property, optional, scope, decode)| {
        json!({ "name": name, "property": property, "optional": optional, "scope": scope, "decode": decode })
    });
    (key, prop_oneof![1 => value().prop_map(|v| json!({ "value": v })), 4 => secret.prop_map(|s| json!({ "secretRef": s }))])
        .prop_map(|(key, mut entry)| {
            entry["key"] = json!(key);
            entry
        })
}

fn target() -> impl Strategy<Value = Value> {
    let words = |w: &'static [&'static str], p| option::weighted(p, select(w));
    (
        words(&["other-name"], 0.2),
        words(&["Opaque", "kubernetes.io/tls", "kubernetes.io/basic-auth", "kubernetes.io/service-account-token"], 0.15),
        words(&["Owner", "Merge", "Adopt"], 0.6),
        words(&["Delete", "Retain"], 0.4),
        option::weighted(0.2, any::<bool>()),
        words(&["team", "team", "team", "kubernetes.io/x"], 0.3),
        words(&["u={{ A }}", "plain", "x{{ B }}", "{{ A | nope }}", "{{ B.x.y }}", "{% for x in A %}{{ x", "{{ missing }}"], 0.2),
    )
        .prop_map(|(name, r#type, creation, deletion, immutable, label, template)| {
            json!({
                "name": name, "type": r#type, "creationPolicy": creation, "deletionPolicy": deletion, "immutable": immutable,
                "metadata": label.map(|l| json!({ "labels": { l: "x" }, "annotations": { l: "y" } })),
                "template": template.map(|t| json!({ "data": { "T": t } })),
            })
        })
}

/// Any spec, also ones that the API server would refuse.
pub fn spec() -> impl Strategy<Value = SecretReferenceSpec> {
    let source = prop_oneof![
        2 => select(vec!["db", "api"]).prop_map(|n| json!({ "extract": { "name": n } })),
        3 => select(vec!["d", "a", "zz"]).prop_map(|p| json!({ "find": { "prefix": p, "keyCase": "ScreamingSnake" } })),
    ];
    let settings = (
        option::weighted(0.1, select(vec!["acme", "beta"])),
        option::weighted(0.05, any::<bool>()),
        option::weighted(0.5, select(vec!["Never", "Annotated"])),
        option::weighted(0.3, select(vec!["0s", "10s", "10m"])),
    );
    (vec(entry(), 0..5), vec(source, 0..2), option::of(target()), settings).prop_map(
        |(data, sources, target, (org, suspend, restart, refresh))| {
            serde_json::from_value(json!({
                "storeRef": { "name": "main" }, "org": org, "suspend": suspend, "refreshInterval": refresh, "target": target,
                "data": data, "dataFrom": sources, "rollout": restart.map(|r| json!({ "restart": r })),
            }))
            .unwrap()
        },
    )
}

/// Any world, without a target and a status.
pub fn world() -> impl Strategy<Value = World> {
    let tenancy = (option::weighted(0.3, any::<bool>()), option::of(any::<bool>()), option::of(select(vec!["Keep", "Delete"])))
        .prop_map(|(global, unbound, revoke)| {
            let selector = json!({ "matchExpressions": [{ "key": "closed", "operator": "DoesNotExist" }] });
            let all = json!({ "allowGlobal": global, "allowUnbound": unbound, "onRevoke": revoke, "namespaceSelector": selector });
            serde_json::from_value(all).unwrap()
        });
    let labels = (
        option::weighted(0.95, select(vec!["acme", "acme", "acme", "acme", "acme", "beta", "beta", "GLOBAL"])),
        any::<u8>(),
    )
        .prop_map(|(org, closed)| {
            let closed = (closed < 8).then(|| ("closed".to_owned(), String::new()));
            org.map(|o| ("secretref.dev/org".to_owned(), o.to_owned())).into_iter().chain(closed).collect()
        });
    let blocked = Just(Problem::new(crate::api::Reason::StoreNotReady, "a cycle: break it"));
    (spec(), store(), labels, option::weighted(0.95, tenancy), option::weighted(0.05, blocked), 1..3_i64).prop_map(
        |(spec, store, labels, tenancy, blocked, generation)| World {
            spec,
            store,
            labels,
            tenancy,
            blocked,
            generation,
            ..World::new("")
        },
    )
}

/// The policy that a spec asks for.
pub fn policy(world: &World) -> CreationPolicy {
    world.spec.creation_policy()
}

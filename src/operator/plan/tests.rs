#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! What `plan` never does, whatever it sees.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::{option, prelude::*, sample::select};
use serde_json::json;
use world::*;

use super::*;
use crate::{
    api::Scope,
    naming::{Org, Owner},
};

#[path = "cases.rs"]
mod cases;
#[path = "world.rs"]
pub mod world;

/// What is there before the attempt.
#[derive(Clone, Debug)]
enum Prior {
    Nothing,
    /// Somebody's, who maybe is another reference.
    Foreign {
        owner: Option<&'static str>,
        stamped: Option<&'static str>,
    },
    /// Written for this reference, when much was otherwise.
    Ours(Box<Ours>),
}

#[derive(Clone, Debug)]
struct Ours {
    store: std::collections::BTreeMap<String, Content>,
    org: &'static str,
    other_installation: bool,
    other_uid: bool,
    drifted: bool,
    same_store: bool,
}

fn prior() -> impl Strategy<Value = Prior> {
    let ours =
        (store(), select(vec!["acme", "acme", "beta"]), any::<[bool; 4]>()).prop_map(|(store, org, [i, u, d, s])| {
            Prior::Ours(Box::new(Ours {
                store,
                org,
                other_installation: i && u,
                other_uid: u && d,
                drifted: d && i,
                same_store: s,
            }))
        });
    let others = || option::of(Just("another"));
    prop_oneof![
        1 => Just(Prior::Nothing),
        1 => (others(), others()).prop_map(|(owner, stamped)| Prior::Foreign { owner, stamped }),
        4 => ours,
    ]
}

/// The world with what was there before.
fn given(mut world: World, prior: &Prior) -> (World, Option<ObjectMeta>) {
    let meta = match prior {
        Prior::Nothing => None,
        Prior::Foreign { owner, stamped } => {
            let stamp = |name: &str| json!({ annotation(name): "k:t:uid-9:1:f::v:acme:1:0:Global:Delete" });
            let owned = |name: &str| json!([{ "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretReference", "name": name, "uid": "uid-9" }]);
            let meta =
                json!({ "uid": "foreign-uid", "annotations": stamped.map(stamp), "ownerReferences": owner.map(owned) });
            Some(serde_json::from_value(meta).unwrap())
        }
        Prior::Ours(ours) => {
            let mut then = world.clone();
            (then.spec.suspend, then.spec.org, then.blocked) = (None, None, None);
            then.labels = [("secretref.dev/org".to_owned(), ours.org.to_owned())].into();
            if !ours.same_store {
                then.store.clone_from(&ours.store);
            }
            if ours.other_uid {
                then.uid = "uid-0".into();
            }
            if ours.other_installation {
                then.installation = "a key that was lost with its cluster".into();
            }
            match then.attempt() {
                Action::Write(write) => Some(applied(&then.reference(), &write, None)),
                _ => None,
            }
        }
    };
    world.target = meta.as_ref().map(TargetMeta::new);
    if let (Prior::Ours(ours), Some(target)) = (prior, &mut world.target)
        && ours.drifted
    {
        target.fields.iter_mut().for_each(|(_, held)| *held = format!("{held}x").into());
    }
    (world, meta)
}

fn stamp_in_place(world: &World) -> Option<Stamp> {
    world.target.as_ref()?.stamp("payments")
}

/// What an entry has to yield; `Err`: nothing may be written. Written apart from the code it checks.
fn required(world: &World, tenant: &Tenant, secret: &crate::api::SecretRef) -> Result<Option<String>, ()> {
    let org = tenant.org.clone().map(Owner::Org);
    let owners = match secret.scope.unwrap_or_default() {
        Scope::Org => vec![org],
        Scope::Global => vec![tenant.global.then_some(Owner::Global)],
        Scope::OrgThenGlobal => vec![org, tenant.global.then_some(Owner::Global)],
    };
    for owner in owners.into_iter().flatten() {
        let scope = if let Owner::Org(org) = &owner { org.as_str() } else { "GLOBAL" };
        let Some(content) = world.store.get(&format!("{scope}--{}", secret.name)) else { continue };
        let map = content.as_ref().map_err(|_| ())?;
        let text = map.get(secret.property.as_deref().unwrap_or("value")).cloned().flatten().ok_or(())?;
        return if text.is_empty() { Err(()) } else { Ok(Some(text)) };
    }
    if secret.optional == Some(true) { Ok(None) } else { Err(()) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    /// Whatever is seen, there is a decision, and it keeps every promise.
    #[test]
    fn plan_is_total_and_keeps_its_promises(world in world(), prior in prior()) {
        let (world, _) = given(world, &prior);
        let old = stamp_in_place(&world);
        let gated = world.seen(|o| gate(o).map(|(tenant, _)| tenant));
        match world.attempt() {
            Action::Write(write) => {
                let tenant = gated.expect("nothing is written without a binding");
                for entry in world.spec.data() {
                    // Of two entries with one key, which the API server refuses, one wins.
                    let alone = world.spec.data().iter().filter(|e| e.key == entry.key).count() == 1;
                    match &entry.secret_ref {
                        None if !alone => {}
                        None => prop_assert_eq!(write.desired.data[&entry.key].expose_str(), entry.value.as_deref()),
                        Some(secret) if secret.decode.is_none() => {
                            let wanted = required(&world, &tenant, secret);
                            prop_assert!(wanted.is_ok(), "written without {}", entry.key);
                            let got = write.desired.data.get(&entry.key).and_then(|v| v.expose_str().map(str::to_owned));
                            if alone {
                                prop_assert_eq!(got, wanted.unwrap());
                            }
                        }
                        Some(_) => {}
                    }
                }
                prop_assert!(!write.desired.data.is_empty());
                prop_assert!(resolve::required_keys(world.spec.target_type(), &write.desired.data).is_ok());
                if let Prior::Foreign { owner, .. } = prior {
                    prop_assert_ne!(policy(&world), CreationPolicy::Owner, "over a foreign one");
                    prop_assert!(owner.is_none() || policy(&world) == CreationPolicy::Merge, "over another reference's");
                }
                prop_assert_eq!(write.stamp.org.as_deref(), tenant.org.as_ref().map(Org::as_str));
                let found = world.target.as_ref().map_or(Precondition::Absent, |t| Precondition::Uid(t.uid.clone()));
                prop_assert_eq!(&write.precondition, &found);
                if write.restart {
                    let old = old.expect("workloads saw other values");
                    prop_assert_eq!(&old.key_id, &write.stamp.key_id);
                    prop_assert_eq!(&old.uid, &write.stamp.uid);
                    prop_assert_ne!(&old.values, &write.stamp.values);
                    prop_assert_eq!(world.spec.restart(), Restart::Annotated);
                }
            }
            Action::InSync(resolved) => {
                let (tenant, old) = (gated.unwrap(), old.expect("in sync with nothing"));
                let prints = Fingerprints::new(&world.installation.clone().into());
                prop_assert_eq!(old.target, prints.target(&world.uid, world.generation, &resolved.data));
                prop_assert_eq!(old.org.as_deref(), tenant.org.as_ref().map(Org::as_str));
                prop_assert_eq!(old.generation, world.generation);
                let held = &world.target.as_ref().unwrap().fields.get(&*crate::operator::target::manager("payments", policy(&world))).unwrap();
                prop_assert_eq!(old.fields.as_str(), &***held);
            }
            Action::Revoke(problem) => {
                prop_assert_eq!(world.tenancy.as_ref().and_then(|t| t.on_revoke), Some(OnRevoke::Delete));
                prop_assert!(old.is_some(), "someone else's Secret");
                prop_assert!(!world.spec.is_suspended());
                prop_assert!(matches!(
                    problem.reason,
                    Reason::OrgNotBound | Reason::OrgMismatch | Reason::OrgChanged | Reason::StoreNotFound
                ), "{:?}", problem);
            }
            Action::Leave(problem) => prop_assert!(!problem.message.is_empty()),
        }
    }

    /// Planning again after applying does nothing.
    #[test]
    fn plan_is_idempotent(world in world(), prior in prior()) {
        let (mut world, before) = given(world, &prior);
        if let Action::Write(write) = world.attempt() {
            let after = applied(&world.reference(), &write, before.as_ref());
            world.target = Some(TargetMeta::new(&after));
            let again = world.attempt();
            prop_assert!(matches!(again, Action::InSync(_)), "{:?}", again);
        }
    }

    /// A failed resolution writes nothing; it takes away only what belongs to another organisation, where told to.
    #[test]
    fn no_failure_writes(world in world(), prior in prior(), reason in select(vec![
        Reason::SecretNotFound, Reason::StoreUnavailable, Reason::PermissionDenied, Reason::TemplateError, Reason::SecretEmpty,
    ])) {
        let (world, _) = given(world, &prior);
        let old = stamp_in_place(&world);
        let action = world.seen(|o| {
            let (tenant, _) = gate(o).ok()?;
            let org = tenant.org.as_ref().map(|o| o.to_string());
            Some((plan(o, &tenant, Err(Problem::new(reason, "it broke")), &[], Default::default()), org))
        });
        if let Some((action, org)) = action {
            let other_org = old.is_some_and(|s| s.uid == world.uid && s.org != org);
            let delete = world.tenancy.as_ref().and_then(|t| t.on_revoke) == Some(OnRevoke::Delete);
            match action {
                Action::Leave(p) if other_org => prop_assert!(p.reason == Reason::OrgChanged && !delete),
                Action::Leave(p) => prop_assert_eq!(p.reason, reason),
                Action::Revoke(p) => prop_assert!(p.reason == Reason::OrgChanged && other_org && delete),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

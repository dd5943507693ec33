//! Single cases that a reader should know.

use super::{world::*, *};
use crate::secret::SecretValue;

const SPEC: &str = "data: [{ key: DB, secretRef: { name: db } }]";

fn in_place(world: &mut World) {
    let Action::Write(write) = world.attempt() else { panic!("a write") };
    world.target = Some(TargetMeta::new(&applied(&world.reference(), &write, None)));
}

fn leaves(world: &World) -> Problem {
    match world.attempt() {
        Action::Leave(problem) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_organisation_is_told_whatever_else_is_wrong() {
    let mut world = World::new(SPEC).with("acme--db", "hush-1").with("beta--db", "hush-2");
    in_place(&mut world);
    world.labels.insert("secretref.dev/org".into(), "beta".into());
    assert!(matches!(world.attempt(), Action::Write(w) if w.stamp.org.as_deref() == Some("beta")));
    world.blocked = Some(Problem::new(Reason::StoreNotReady, "a cycle: break it"));
    let problem = leaves(&world);
    assert_eq!(problem.reason, Reason::OrgChanged, "values of acme must not stay behind a Ready of beta");
    assert!(problem.message.contains("a cycle"), "{}", problem.message);
    world.tenancy.as_mut().unwrap().on_revoke = Some(OnRevoke::Delete);
    assert!(matches!(world.attempt(), Action::Revoke(p) if p.reason == Reason::OrgChanged));
    world.spec.org = Some("acme".into());
    assert!(matches!(world.attempt(), Action::Revoke(p) if p.reason == Reason::OrgMismatch));
    world.spec.suspend = Some(true);
    assert_eq!(leaves(&world).reason, Reason::Suspended, "told to pause: untouched");
}

#[test]
fn a_wrong_claim_alone_takes_nothing_away() {
    let mut world = World::new(SPEC).with("acme--db", "hush-1");
    world.tenancy.as_mut().unwrap().on_revoke = Some(OnRevoke::Delete);
    in_place(&mut world);
    world.spec.org = Some("beta".into());
    assert_eq!(leaves(&world).reason, Reason::OrgMismatch);
    world.spec.org = None;
    world.labels.clear();
    assert!(matches!(world.attempt(), Action::Revoke(p) if p.reason == Reason::OrgNotBound));
}

#[test]
fn a_restart_needs_values_that_workloads_saw_change() {
    let mut world = World::new(&format!("rollout: {{ restart: Annotated }}\n{SPEC}")).with("acme--db", "hush-1");
    let restarts = |world: &World| match world.attempt() {
        Action::Write(write) => write.restart,
        other => panic!("{other:?}"),
    };
    assert!(!restarts(&world), "nobody has seen it yet");
    in_place(&mut world);
    let same = World { generation: 2, ..world.clone() };
    assert!(!restarts(&same), "another generation with the same values");
    let changed = world.clone().with("acme--db", "hush-2");
    assert!(restarts(&changed));
    assert!(!restarts(&World { installation: "a restored cluster's other, newer key".into(), ..changed.clone() }));
    assert!(!restarts(&World { uid: "uid-2".into(), ..changed.clone() }), "recreated by GitOps");
    let mut never = changed;
    never.spec.rollout = None;
    assert!(!restarts(&never));
}

/// What a process that is killed leaves undone is found by comparing these numbers with the status.
#[test]
fn a_revision_is_counted_for_other_content_and_a_restart_stays_owed() {
    let mut world = World::new(&format!("rollout: {{ restart: Annotated }}\n{SPEC}")).with("acme--db", "hush-1");
    let counts = |world: &World| match world.attempt() {
        Action::Write(write) => (write.stamp.revision, write.stamp.restart),
        other => panic!("{other:?}"),
    };
    assert_eq!(counts(&world), (1, 0), "nobody has seen it yet");
    in_place(&mut world);
    world.store.clear();
    let mut world = world.with("acme--db", "hush-2");
    assert_eq!(counts(&world), (2, 2));
    in_place(&mut world);
    let relabelled = World { generation: 2, ..world.clone() };
    assert_eq!(counts(&relabelled), (3, 2), "the same values: no other restart, and that one is not forgotten");
    world.target = None;
    assert_eq!(counts(&world), (1, 0), "made anew");
}

#[test]
fn falling_back_waits_for_a_second_look() {
    let mut world = World::new(SPEC).with("acme--db", "hush-1").with("GLOBAL--db", "hush-2");
    in_place(&mut world);
    world.store.remove("acme--db");
    let gone = [StoreKey::verbatim("acme--db")];
    let plan_with = |unconfirmed: &[StoreKey]| {
        world.seen(|o| {
            let (tenant, _) = gate(o).unwrap();
            plan(o, &tenant, world.resolve(&tenant), unconfirmed, Default::default())
        })
    };
    assert!(matches!(plan_with(&gone), Action::Leave(p) if p.reason == Reason::SecretNotFound));
    assert!(
        matches!(plan_with(&[]), Action::Write(w) if w.desired.data["DB"] == SecretValue::from("hush-2".to_owned()))
    );
}

#[test]
fn what_another_reference_owns_is_not_adopted() {
    let spec = format!("target: {{ creationPolicy: Adopt }}\n{SPEC}");
    let owned = |owner| given(World::new(&spec).with("acme--db", "hush-1"), &Prior::Foreign { owner, stamped: None }).0;
    assert_eq!(leaves(&owned(Some("another"))).reason, Reason::TargetConflict, "the two would take it from each other");
    assert!(matches!(owned(None).attempt(), Action::Write(_)));
}

use super::*;
use crate::api::{AppRole, SecretKeyRef, SecretKeySource};

fn pauses(auth: &VaultAuth, failure: Failure) -> Vec<u64> {
    let (mut state, error) = (State::default(), StoreError::new(failure, ""));
    let now = Instant::now();
    let pause = |state: &mut State| {
        state.refused(auth, &error);
        state.refused.as_ref().map_or(0, |(until, _)| until.duration_since(now).as_secs())
    };
    (0..6).map(|_| pause(&mut state)).collect()
}

/// The server locks an AppRole at the fifth failure that has no 15 minutes between it and the one before.
#[test]
fn rejected_logins_never_lock_a_role_out() {
    let source = SecretKeySource { secret_ref: SecretKeyRef { name: "s".into(), namespace: None, key: "k".into() } };
    let role = AppRole { mount_path: None, role_id: "r".into(), secret_id: source, secret_id_wrapped: None };
    let role = VaultAuth { app_role: Some(role), ..VaultAuth::default() };
    assert_eq!(pauses(&role, Failure::Unauthenticated), [10, 30, 90, 960, 960, 960]);
    assert_eq!(pauses(&VaultAuth::default(), Failure::Unauthenticated), [10, 20, 20, 20, 20, 20]);
}

#[test]
fn what_is_not_the_credentials_fault_is_not_held_against_it() {
    let auth = VaultAuth::default();
    assert_eq!(pauses(&auth, Failure::Unavailable), [0; 6]);
    assert_eq!(pauses(&auth, Failure::RateLimited(None)), [0; 6]);
    assert_eq!(pauses(&auth, Failure::NotReady), [5; 6]);
}

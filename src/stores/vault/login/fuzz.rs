use proptest::prelude::*;

use super::*;
use crate::mutants;

const TOKENS: [&str; 3] = ["canary-hvs.CAESIJ", " canary-s.x\n", ""];

proptest! {
    /// Whatever a server grants, no clock overflows, and what cannot be a token is refused without being repeated.
    #[test]
    fn any_grant_is_lived_with_or_refused(token in mutants::texts(TOKENS), ttl: u64, renewable: bool) {
        let grant = serde_json::json!({ "auth": { "client_token": token, "lease_duration": ttl, "renewable": renewable } });
        let grant = serde_json::from_value::<wire::Granted>(grant).unwrap().auth;
        match live(grant.client_token.into(), grant.lease_duration, grant.renewable, 1) {
            Ok(live) => {
                prop_assert_eq!(live.due().is_some(), ttl > 0);
                assert!(live.remaining().is_none_or(|left| left <= Duration::from_secs(LONGEST_LIFE)));
                assert!(!format!("{:?}", live.token.header).contains(mutants::CANARY));
            }
            Err(error) => mutants::assert_silent(&error),
        }
        let kept = live(token.clone().into(), 0, false, 1).is_ok_and(|live| live.token.header.as_bytes() == token.trim().as_bytes());
        assert!(kept || token.trim().is_empty() || token.trim().chars().any(|c| c.is_control()));
    }
}

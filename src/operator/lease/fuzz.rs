use proptest::prelude::*;

use super::*;
use crate::mutants;

const LEASES: [&str; 2] = [
    r#"{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"secretref","resourceVersion":"7"},"spec":{"holderIdentity":"b_0011","leaseDurationSeconds":15,"leaseTransitions":2147483647,"acquireTime":"2026-11-22T06:00:14.123456Z","renewTime":"2026-11-22T06:00:14.123456Z"}}"#,
    r#"{"metadata":{"resourceVersion":"8"},"spec":{"holderIdentity":"a_0022","leaseDurationSeconds":-1,"renewTime":"9999-12-31T23:59:59.999999Z"}}"#,
];

proptest! {
    /// Whatever a lease says: only its holder's name makes it mine, and nobody is waited for without end, or not at all.
    #[test]
    fn any_lease_is_waited_for_within_bounds(body in mutants::bytes(LEASES)) {
        let Ok(lease) = serde_json::from_slice::<Lease>(&body) else { return Ok(()) };
        let said = seen(&lease, "a_0022");
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        prop_assert_eq!(said == Seen::Mine, holder == Some("a_0022"));
        if let Seen::Others(lasts) = said {
            prop_assert!((LEASE..=LONGEST).contains(&lasts));
        }
        let now = Instant::now();
        let mut observed = Observed::new(now);
        observed.read(Some((version(&lease), said)), now);
        let next = decide(&observed, now);
        prop_assert!(!matches!(said, Seen::Others(_)) || matches!(next, Decision::Wait(wait) if !wait.is_zero() && wait <= LONGEST));
    }
}

use proptest::prelude::*;

use super::*;
use crate::mutants;

proptest! {
    /// Whatever a server grants, no clock overflows, and what cannot be a token is refused without being repeated.
    #[test]
    fn any_grant_is_lived_with_or_refused(
        token in mutants::texts(["canary-eyJhbGciOi.x.y"]),
        first: (u64, u64),
        next: (u64, u64),
    ) {
        let grant = |(expires_in, max_ttl)| wire::Granted { access_token: token.clone(), expires_in, max_ttl };
        match Live::new(grant(first), Instant::now(), 1) {
            Ok(mut live) => {
                assert!(!token.is_empty() && !format!("{:?}", live.token.header).contains(mutants::CANARY));
                let _ = (live.due(), live.remaining(), live.renewable());
                assert!(live.renewed(grant(next), Instant::now()).is_ok());
                let _ = (live.due(), live.remaining(), live.renewable());
            }
            Err(error) => mutants::assert_silent(&error),
        }
    }
}

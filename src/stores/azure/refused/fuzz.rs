use proptest::prelude::*;
use reqwest::StatusCode;
use zeroize::Zeroizing;

use super::*;
use crate::mutants;

const REJECTIONS: [&str; 3] = [
    r#"{"error":"invalid_client","error_description":"AADSTS7000215: canary-1","error_codes":[7000215],"timestamp":"2026-11-22 06:00:14Z","trace_id":"canary-2","correlation_id":"c"}"#,
    r#"{"error":"invalid_request","error_description":"AADSTS70021: canary-3","error_codes":[70021]}"#,
    r#"{"error":{"code":"canary-4","message":"canary-5"}}"#,
];
const CLAIMS: [&str; 1] = [
    r#"{"iss":"https://issuer.example","sub":"system:serviceaccount:op:secretref","exp":1795334414,"aud":["canary-6"]}"#,
];

fn reply(status: u16, body: Vec<u8>) -> Reply {
    let status = StatusCode::from_u16(status).unwrap();
    Reply { status, retry_after: None, headers: Default::default(), body: Zeroizing::new(body) }
}

proptest! {
    /// Of what an authority says, nothing is shown but its code; of whose token it was, names of bounded length.
    #[test]
    fn a_rejected_login_is_told_in_one_sentence_of_our_own(
        body in mutants::bytes(REJECTIONS),
        claims in mutants::bytes(CLAIMS),
        status in 300..600_u16,
    ) {
        let token = format!("h.{}.s", URL_SAFE_NO_PAD.encode(&claims));
        let claims = super::claims(&token.into());
        for way in [Way::Federated, Way::Machine] {
            let known = claims.clone().filter(|claims| !format!("{}{}", claims.iss, claims.sub).contains(mutants::CANARY));
            let told = Told { way, authority: "https://login.microsoftonline.com".to_owned(), claims: known };
            let error = told.refused(&reply(status, body.clone()));
            mutants::assert_silent(&error);
            assert!(error.message.len() < 600 && !error.message.chars().any(char::is_control), "{}", error);
        }
    }

    #[test]
    fn a_token_that_is_cut_names_nobody(claims in mutants::cut(CLAIMS), token in mutants::texts(["a.b.c", "eyJ.eyJ9.x", "..", ""])) {
        assert!(super::claims(&format!("h.{}.s", URL_SAFE_NO_PAD.encode(&claims)).into()).is_none());
        let _ = super::claims(&token.clone().into());
        assert!(audience(&token).starts_with("api://"));
    }
}

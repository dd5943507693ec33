use aws_lc_rs::hmac;
use proptest::prelude::*;

use super::*;
use crate::mutants;

const KEY: &str = "canary-a-key-of-more-than-32-bytes";
const BODIES: [&str; 2] = [r#"{"keys":["acme--a"]}"#, r#"{"event":"test","timestamp":1700000000123}"#];

fn sign(parts: &[&[u8]]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()), &parts.concat());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().filter_map(|(name, value)| Some((*name, HeaderValue::from_str(value).ok()?))).fold(
        HeaderMap::new(),
        |mut headers, (name, value)| {
            headers.insert(name, value);
            headers
        },
    )
}

/// Whether a request proves itself to the one who has the key.
fn accepted(source: Source, headers: &HeaderMap, query: Option<&str>, body: &[u8]) -> bool {
    let proof = Proof::of(source, headers, query);
    proof.is_some_and(|proof| {
        let _ = proof.signature();
        proof.fits(&SecretValue::from(KEY.to_owned()), body)
    })
}

proptest! {
    /// A signature is good for the time and the body that it was made for, and for nothing else.
    #[test]
    fn what_is_not_signed_right_is_never_accepted(body in mutants::bytes(BODIES), signature in mutants::texts(["sha256=", "t=1;"]), time in mutants::texts([""]), flip in 0..64_usize) {
        let now = since_epoch().as_secs().to_string();
        let good = sign(&[now.as_bytes(), b".", &body]);
        let signed = |time: &str, signature: &str| headers(&[("x-secretref-timestamp", time), ("x-secretref-signature", signature)]);
        assert!(accepted(Source::Generic, &signed(&now, &format!("sha256={good}")), None, &body));
        let mut other = good.clone().into_bytes();
        other[flip] = if other[flip] == b'0' { b'1' } else { b'0' };
        let other = String::from_utf8(other).unwrap();
        let longer = [&body[..], b" "].concat();
        for (time, signature, body) in [
            (now.as_str(), format!("sha256={other}"), &body),
            (now.as_str(), format!("sha256={}", &good[..flip]), &body),
            (now.as_str(), good.clone(), &body),
            (now.as_str(), signature.clone(), &body),
            (now.as_str(), format!("sha256={good}"), &longer),
            (&now[1..], format!("sha256={good}"), &body),
            (time.as_str(), format!("sha256={good}"), &body),
            ("+1", format!("sha256={good}"), &body),
        ] {
            assert!(time == now && signature.strip_prefix("sha256=") == Some(&*good) && *body != longer || !accepted(Source::Generic, &signed(time, &signature), None, body));
        }
        let hook = sign(&[&body]);
        assert!(accepted(Source::Infisical, &headers(&[("x-infisical-signature", &format!("t=1;{hook}"))]), None, &body));
        for signature in [format!("t=1;{}", &hook[..flip]), hook.clone(), format!("t=1;{good}"), signature, time] {
            assert!(!accepted(Source::Infisical, &headers(&[("x-infisical-signature", &signature)]), None, &body));
        }
    }

    #[test]
    fn a_shared_key_is_whole_or_none(given in mutants::texts([KEY]), query in mutants::texts(["code=canary-a-key-of-more-than-32-bytes&x=1", "code=&code=x"]), body in mutants::bytes(BODIES)) {
        let right = given == KEY;
        assert!(right || !accepted(Source::EventGrid, &headers(&[("x-secretref-key", &given)]), None, &body));
        assert!(right || !accepted(Source::EventGrid, &headers(&[("authorization", &format!("Bearer {given}"))]), None, &body));
        let right = query.split('&').find_map(|pair| pair.strip_prefix("code=")) == Some(KEY);
        prop_assert_eq!(accepted(Source::EventGrid, &HeaderMap::new(), Some(&query), &body), right);
    }
}

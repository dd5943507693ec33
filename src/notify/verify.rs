//! Signatures and shared keys, compared in constant time.

use std::time::Duration;

use aws_lc_rs::hmac;

/// How far the sender's clock may be from ours.
pub const WINDOW: Duration = Duration::from_secs(300);

/// Whether `hex` is the HMAC-SHA256 of these parts, one after the other.
pub fn signed(key: &[u8], parts: &[&[u8]], hex: &str) -> bool {
    let Some(tag) = decode(hex) else { return false };
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), &parts.concat(), &tag).is_ok()
}

/// Whether two keys are the same; their lengths do not show, either.
pub fn same(key: &[u8], given: &[u8]) -> bool {
    let blind = hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>());
    hmac::verify(&blind, given, hmac::sign(&blind, key).as_ref()).is_ok()
}

/// Whether something was sent around now.
pub fn timely(sent: Duration, now: Duration) -> bool {
    sent.abs_diff(now) <= WINDOW
}

/// The 32 bytes that 64 hexadecimal digits are.
pub fn decode(hex: &str) -> Option<[u8; 32]> {
    let digits = hex.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sign(key: &[u8], text: &[u8]) -> String {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_signature_of_rfc_4231() {
        let tag = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert!(signed(b"Jefe", &[b"what do ya ", b"want for nothing?"], tag));
        assert!(signed(b"Jefe", &[b"what do ya want for nothing?"], &tag.to_uppercase()));
        for bad in ["", "5b", &tag[..62], &format!("{tag}00"), &tag.replace('5', "6"), &format!("+b{}", &tag[2..])] {
            assert!(!signed(b"Jefe", &[b"what do ya want for nothing?"], bad), "{bad}");
        }
    }

    #[test]
    fn a_window_is_open_to_both_sides_and_ends() {
        let now = Duration::from_secs(1_700_000_000);
        assert!(timely(now - WINDOW, now) && timely(now + WINDOW, now));
        let more = WINDOW + Duration::from_secs(1);
        assert!(!timely(now - more, now) && !timely(now + more, now) && !timely(Duration::MAX, now));
    }

    proptest! {
        #[test]
        fn only_the_same_key_and_text_verify(key in "[a-z]{32,40}", other in "[a-z]{32,40}", text: Vec<u8>, flip: prop::sample::Index) {
            let tag = sign(key.as_bytes(), &text);
            prop_assert!(signed(key.as_bytes(), &[&text], &tag));
            prop_assert_eq!(signed(other.as_bytes(), &[&text], &tag), key == other);
            prop_assert_eq!(same(key.as_bytes(), other.as_bytes()), key == other);
            if !text.is_empty() {
                let mut forged = text.clone();
                forged[flip.index(text.len())] ^= 1;
                prop_assert!(!signed(key.as_bytes(), &[&forged], &tag));
            }
        }
    }
}

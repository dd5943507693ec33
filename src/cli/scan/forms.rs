//! The forms that a value takes in other files.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

/// A form and what it looks like.
pub(super) type Form = (&'static str, Zeroizing<Vec<u8>>);

/// All of them, the plain one first; none twice.
pub(super) fn of(value: &[u8]) -> Vec<Form> {
    let mut forms: Vec<Form> = vec![("plain", Zeroizing::new(value.to_vec()))];
    let mut add = |name: &'static str, bytes: Vec<u8>| {
        let bytes = Zeroizing::new(bytes);
        if !forms.iter().any(|(_, known)| *known == bytes) {
            forms.push((name, bytes));
        }
    };
    for offset in 0..3 {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let core = base64_at(engine, value, offset);
            if core.len() >= 6 {
                add("base64", core);
            }
        }
    }
    for (keep, space, upper) in [
        (&b"-_.~"[..], &b"%20"[..], true),
        (b"-_.!~*'()", b"%20", true),
        (b"-_.*", b"+", true),
        (b"-_.~", b"%20", false),
    ] {
        add("URL-encoded", url_encoded(value, keep, space, upper));
    }
    if let Ok(text) = std::str::from_utf8(value)
        && let Ok(json) = serde_json::to_vec(text)
    {
        let json = Zeroizing::new(json);
        add("JSON string", json[1..json.len() - 1].to_vec());
    }
    forms
}

/// The characters that are the same whatever stands before and behind, with so many bytes before it in its group.
fn base64_at(engine: &impl Engine, value: &[u8], offset: usize) -> Vec<u8> {
    let mut shifted = Zeroizing::new(vec![0; offset]);
    shifted.extend_from_slice(value);
    let encoded = Zeroizing::new(engine.encode(&*shifted));
    // Characters of 6 bits; the first that has no bit of what stands before, up to the last that has all of its own.
    let (first, end) = ((offset * 8).div_ceil(6), shifted.len() * 8 / 6);
    encoded.as_bytes().get(first..end).unwrap_or_default().to_vec()
}

fn url_encoded(value: &[u8], keep: &[u8], space: &[u8], upper: bool) -> Vec<u8> {
    let digits: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let mut out = Vec::with_capacity(value.len() * 3);
    for byte in value {
        match byte {
            b' ' => out.extend_from_slice(space),
            b if b.is_ascii_alphanumeric() || keep.contains(b) => out.push(*b),
            b => out.extend_from_slice(&[b'%', digits[usize::from(b >> 4)], digits[usize::from(b & 15)]]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Wherever a value stands in a longer text, one of the forms is in the encoded text.
        #[test]
        fn base64_is_found_at_every_alignment(before in ".{0,7}", value in "[ -~]{6,40}", after in ".{0,7}") {
            let whole = format!("{before}{value}{after}");
            for encoded in [STANDARD_NO_PAD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
                let found = of(value.as_bytes()).iter().any(|(name, bytes)| {
                    *name == "base64" && encoded.as_bytes().windows(bytes.len()).any(|w| w == &***bytes)
                });
                proptest::prop_assert!(found, "{} in {}", value, encoded);
            }
        }
    }

    #[test]
    fn urls_and_json() {
        let has = |form: &str| of(b"a b/c\"d\n").iter().any(|(_, bytes)| **bytes == *form.as_bytes());
        for form in ["a%20b%2Fc%22d%0A", "a+b%2Fc%22d%0A", "a%20b%2fc%22d%0a", "a b/c\\\"d\\n"] {
            assert!(has(form), "{form}");
        }
        assert_eq!(of(b"plain").iter().filter(|(name, _)| *name != "base64").count(), 1);
    }
}

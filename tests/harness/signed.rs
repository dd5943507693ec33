//! Notifications as who sends them signs them.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;

/// Since the Unix epoch.
pub fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// HMAC-SHA256 of a text, in hexadecimal.
pub fn mac(key: &str, text: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text.as_bytes());
    tag.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// The headers of a generic notification that was sent then.
pub fn signed(key: &str, seconds: u64, body: &str) -> Vec<(&'static str, String)> {
    let signature = format!("sha256={}", mac(key, &format!("{seconds}.{body}")));
    vec![("x-secretref-timestamp", seconds.to_string()), ("x-secretref-signature", signature)]
}

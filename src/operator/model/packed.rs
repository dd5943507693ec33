//! Text that is kept small: what one reference says, thousands of others say almost alike.

use std::fmt;

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};

/// What specs and statuses are made of, the most frequent last. Nothing depends on its words: what is not in here only
/// takes more room.
const DICTIONARY: &str = concat!(
    r#"{"storeRef":{"name":"platform","kind":"ClusterSecretStore"},"refreshInterval":"5m","target":{"name":"","type":"Opaque","#,
    r#""creationPolicy":"Owner","deletionPolicy":"Retain","template":{"data":{"metadata":{"labels":{"annotations":{"#,
    r#""rollout":{"restart":"Annotated"},"dataFrom":[{"find":{"prefix":""}},{"extract":{"name":""}}],"#,
    r#""optional":true,"property":"","decode":"Base64","value":"","data":[{"key":"DATABASE_HOST","value":""},"#,
    r#"{"key":"DATABASE_PASSWORD","secretRef":{"name":"database-password","scope":"OrgThenGlobal"}},"#,
    r#""message":"the store does not answer","reason":"StoreUnavailable","status":"Unknown","#,
    r#"{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Secret  is in place","observedGeneration":1,"#,
    r#""reason":"Synced","status":"True","type":"Ready"},{"lastTransitionTime":"2026-01-01T00:00:00Z","#,
    r#""message":"all entries resolved and are in the target","observedGeneration":1,"reason":"Synced","status":"True","#,
    r#""type":"Synced"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"the store answers","observedGeneration":1,"#,
    r#""reason":"Healthy","status":"True","type":"StoreHealthy"},{"lastTransitionTime":"2026-01-01T00:00:00Z","#,
    r#""message":"nothing has to be changed by hand","observedGeneration":1,"reason":"Progressing","status":"False","#,
    r#""type":"Stalled"}],"entries":[{"key":"","name":"","scope":"Org","version":"1"},"#,
    r#"{"key":"","name":"","scope":"Global","version":"1"},{"key":"","scope":"Plain"}],"#,
    r#""lastChangeTime":"2026-01-01T00:00:00Z","lastHandledSyncNow":"","observedGeneration":1,"org":"","#,
    r#""target":{"keys":1,"name":"","revision":1,"restarted":1,"uid":""}}"#,
);

/// A text, packed.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    pub(super) fn new(text: &str) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        Self(compress_prepend_size_with_dict(text.as_bytes(), DICTIONARY.as_bytes()).into())
    }

    /// The text again; it is JSON, and JSON that does not end is refused by whoever reads it.
    pub(super) fn text(&self) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        decompress_size_prepended_with_dict(&self.0, DICTIONARY.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_packed_is_there_again(text in ".{0,400}", times in 0..20_usize) {
            let text = text.repeat(times);
            prop_assert_eq!(Packed::new(&text).text(), text.into_bytes());
        }
    }

    #[test]
    fn a_usual_status_takes_a_fraction_of_its_text() {
        let condition = |kind: &str, message: &str| {
            format!(
                r#"{{"lastTransitionTime":"2027-08-09T10:11:12Z","message":"{message}","observedGeneration":3,"reason":"Synced","status":"True","type":"{kind}"}}"#
            )
        };
        let entry =
            |i: usize| format!(r#"{{"key":"QUEUE_{i}_TOKEN","name":"queue-{i}-token","scope":"Org","version":"{i}"}}"#);
        let text = format!(
            r#"{{"conditions":[{},{}],"entries":[{}],"observedGeneration":3}}"#,
            condition("Ready", "Secret payments is in place"),
            condition("Synced", "all entries resolved and are in the target"),
            (0..10).map(entry).collect::<Vec<_>>().join(","),
        );
        let packed = Packed::new(&text);
        assert!(packed.0.len() * 3 < text.len(), "{} of {}", packed.0.len(), text.len());
    }
}

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::mutants;

proptest! {
    /// In bytes of any kind, however they are read, every value is found where it is, and nothing else is.
    #[test]
    fn values_are_found_in_any_bytes(
        parts in vec((mutants::bytes(["line one\nline two\n", "canary-", "\r\n\n"]), any::<bool>()), 0..6),
        piece in 1..80_usize,
        value in "canary-[a-z\n<&é]{0,12}",
    ) {
        let mut file = Vec::new();
        let mut expected = BTreeSet::new();
        for (noise, planted) in &parts {
            file.extend_from_slice(noise);
            if *planted {
                file.extend_from_slice(value.as_bytes());
            }
        }
        for (at, window) in file.windows(value.len()).enumerate() {
            if window == value.as_bytes() {
                expected.insert(newlines(&file[..at]) + 1);
            }
        }
        let patterns = Patterns::new(&[("A".to_owned(), SecretValue::from(value.clone()))].into()).unwrap();
        let mut places = BTreeSet::new();
        patterns.places(&file[..], &mut patterns.buffer(piece), Path::new("f"), &mut places).unwrap();
        let found: BTreeSet<usize> = places.iter().filter(|place| place.form == "plain").map(|place| place.line).collect();
        prop_assert_eq!(found, expected);
    }
}

use proptest::prelude::*;

use super::*;
use crate::mutants;

const LINES: [&str; 3] = [
    "1700000000000 *\n1700000000001 AAAAAAAAAAAAAAAA AAEC\n",
    "1700000000002 AAAAAAAAAAAAAAAB \n1700000000002 *\n",
    "18446744073709551615 *\n9007199254740991 *\n",
];

#[test]
fn a_sequence_beyond_every_clock_does_not_silence_what_comes() {
    let mut ring = Ring::decode(&[("uid".to_owned(), "18446744073709551615 *\n".to_owned())].into());
    let first = ring.add(&"uid".into(), About::Whole, Duration::from_secs(1_700_000_000));
    assert!(ring.add(&"uid".into(), About::Whole, Duration::from_secs(1_700_000_000)) > first);
}

proptest! {
    /// Whatever somebody wrote into the object: it is read in bounds, read again it is the same, and what comes is heard.
    #[test]
    fn any_object_is_read_and_gone_on_with(one in mutants::texts(LINES), other in mutants::texts(LINES)) {
        let read = Ring::decode(&[("uid-1".to_owned(), one), ("uid-2".to_owned(), other)].into());
        prop_assert!(read.notes.len() <= MOST && read.notes.is_sorted_by_key(|note| note.seq));
        let again = Ring::decode(&read.encode());
        prop_assert!(again.last == read.last && again.notes.len() == read.notes.len());
        let mut ring = Ring::default();
        let before = ring.add(&"uid-3".into(), About::Whole, Duration::from_secs(1));
        ring.follow(read.clone());
        let next = ring.add(&"uid-3".into(), About::Whole, Duration::from_secs(2));
        prop_assert!(next > before && next > read.last() && ring.after(next - 1).count() == 1);
    }
}

use proptest::prelude::*;

use super::*;
use crate::mutants;

const STAMPS: [&str; 3] = [
    "0a1b2c3d:00112233445566778899aabbccddeeff:6c8f2d4e-0000-4000-8000-000000000001:7:0011223344556677:00112233445566778899:ffeeddccbbaa99887766554433221100:acme:3:2:Global:Delete",
    "0a1b2c3d:00:6c8f2d4e:1:00:::-:0:0:Own:Retain",
    "0a1b2c3d::u:-9223372036854775808:::::0:0:Global:Delete",
];

#[test]
fn a_stamp_that_lost_its_end_is_none() {
    let whole = STAMPS[0];
    assert!(whole.parse::<Stamp>().is_ok_and(|stamp| stamp.delete));
    for end in 0..whole.len() {
        assert_eq!(whole[..end].parse::<Stamp>(), Err(()), "{}", &whole[..end]);
    }
    for other in [whole.replace("Global", "global"), whole.replace(":7:", ":+7:"), format!("{whole} ")] {
        assert_eq!(other.parse::<Stamp>(), Err(()), "{other}");
    }
}

proptest! {
    #[test]
    fn a_stamp_is_read_as_it_is_written_or_not_at_all(text in mutants::texts(STAMPS), source: Source) {
        if let Ok(stamp) = text.parse::<Stamp>() {
            prop_assert_eq!(&stamp.to_string(), &text);
            let sources = stamp.sources.to_string();
            let written: Vec<&str> = (0..sources.len()).step_by(10).map(|at| &sources[at..at + 10]).collect();
            prop_assert!(stamp.sources.0.iter().map(|source| hex(source)).eq(written.iter().copied()));
            prop_assert!(stamp.sources.0.iter().all(|source| stamp.sources.contains(source)));
            prop_assert_eq!(stamp.sources.contains(&source), written.contains(&&*hex(&source)));
        }
    }

    #[test]
    fn a_stamp_that_is_cut_is_refused(text in mutants::cut(STAMPS)) {
        prop_assert_eq!(text.parse::<Stamp>(), Err(()));
    }

    #[test]
    fn names_of_any_length_have_annotations(name in mutants::texts(["payments"])) {
        prop_assert!(slug(&name).len() <= 63 && annotation(&name).len() < 100 && merge_manager(&name).len() < 100);
    }
}

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::mutants;

#[test]
fn what_no_clock_holds_is_no_duration() {
    for endless in ["5000000000000000h", "99999999999999999999999999999ms", "1e9h"] {
        assert_eq!(GoDuration(endless.into()).get(), None, "{endless}");
    }
}

proptest! {
    #[test]
    fn what_is_read_can_be_waited_for_twice(text in mutants::texts(["5m", "1h30m", "500ms", "0s", "999999999h999999999h999999999h"])) {
        if let Some(duration) = GoDuration(text).get() {
            prop_assert!(Instant::now().checked_add(duration * 2).is_some());
        }
    }

    #[test]
    fn what_the_schema_admits_is_read(text in "([0-9]{1,9}(\\.[0-9]{1,9})?(ms|s|m|h)){1,3}") {
        prop_assert!(text.len() > 32 || GoDuration(text).get().is_some());
    }
}

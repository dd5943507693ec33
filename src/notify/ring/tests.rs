use proptest::prelude::*;

use super::*;

fn hashes() -> Hashes {
    Hashes::new(&"an installation's key".to_owned().into())
}

fn key(name: &str) -> Changed {
    Changed::Key(name.into())
}

fn mark(changed: &Changed) -> Mark {
    match hashes().about(changed) {
        About::Mark(mark) => mark,
        About::Whole => panic!("{changed:?}"),
    }
}

const NOW: Duration = Duration::from_secs(1_700_000_000);

#[test]
fn no_name_is_written_down_and_another_installation_writes_another_hash() {
    let (name, store): (_, Arc<str>) = ("acme--db-password", "uid".into());
    let mut ring = Ring::default();
    ring.add(&store, hashes().about(&key(name)), NOW);
    let text = format!("{:?}", ring.encode());
    assert!(!text.contains("acme") && !text.contains("password"), "{text}");
    let other = Hashes::new(&"another key".to_owned().into());
    assert_ne!(hashes().key(name), other.key(name));
    assert_ne!(hashes().key(name), hashes().folder(name), "a folder is no key");
    assert_eq!(hashes().key("GLOBAL--Name"), hashes().key("global--name"));
}

#[test]
fn lists_that_a_key_is_in_are_found_and_others_are_not() {
    let mark = mark(&key("acme--payments-db"));
    for (prefix, found) in [
        ("", true),
        ("acme--", true),
        ("acme--payments-", true),
        ("ACME--payments-db", true),
        ("acme--orders-", false),
        ("globex--", false),
        ("acme--payments-db-2", false),
    ] {
        assert_eq!(mark.begins_with(hashes().prefix(prefix)), found, "{prefix}");
    }
    let long = "a".repeat(200);
    assert!(self::mark(&key(&format!("{long}b"))).begins_with(hashes().prefix(&long)));
    // A folder is in the lists of what is above it.
    let folder = self::mark(&Changed::Folder("acme/db".into()));
    assert!(folder.begins_with(hashes().prefix("acme/")) && folder.begins_with(hashes().prefix("acme/db/")));
    assert!(!folder.begins_with(hashes().prefix("acme/dba")) && !folder.begins_with(hashes().prefix("globex/")));
    assert!(!self::mark(&Changed::Folder("".into())).begins_with(hashes().prefix("a")));
}

#[test]
fn the_same_news_is_one_note_and_old_news_goes() {
    let (store, other): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
    let mut ring = Ring::default();
    let first = ring.add(&store, hashes().about(&key("a")), NOW);
    ring.add(&other, hashes().about(&key("a")), NOW);
    ring.add(&store, About::Whole, NOW);
    let again = ring.add(&store, hashes().about(&key("a")), NOW);
    assert_eq!((ring.notes.len(), again > first, ring.after(again - 1).count()), (3, true, 1));
    ring.add(&store, hashes().about(&key("b")), NOW + KEPT + Duration::from_secs(1));
    assert_eq!(ring.notes.len(), 1);
    // A clock that is set back does not take the sequence back.
    assert!(ring.add(&store, About::Whole, NOW) > again + 1);
}

#[test]
fn a_flood_at_one_store_makes_its_news_less_exact_and_leaves_others_alone() {
    let (quiet, loud): (Arc<str>, Arc<str>) = ("quiet".into(), "loud".into());
    let mut ring = Ring::default();
    ring.add(&quiet, hashes().about(&key("a")), NOW);
    for i in 0..10_000 {
        ring.add(&loud, hashes().about(&key(&format!("k{i}"))), NOW);
    }
    assert_eq!(ring.take("quiet").len(), 1);
    let rest = ring.take("loud");
    assert!(rest.len() <= CAPACITY && rest.iter().any(|n| n.about == About::Whole));
    assert!(ring.is_empty());
}

#[test]
fn who_comes_after_a_process_of_the_same_name_goes_on_with_its_ring() {
    let store: Arc<str> = "uid".into();
    let (mut earlier, mut ring) = (Ring::default(), Ring::default());
    let known = earlier.add(&store, hashes().about(&key("a")), NOW + Duration::from_secs(60));
    ring.add(&store, hashes().about(&key("b")), NOW);
    ring.follow(earlier);
    assert_eq!((ring.notes.len(), ring.after(known).count()), (2, 1), "what is new is after what is known");
}

#[test]
fn what_is_no_ring_is_passed_over() {
    let lines = ["", "x *", "1", "1 !", "1 AAAA AAAA", "1 AAAAAAAAAAAAAAAA", "1 AAAAAAAAAAAAAAAA AA", "-1 *", "1 * *"];
    let ring = Ring::decode(&[("uid".to_owned(), format!("{}\n7 *\n", lines.join("\n")))].into());
    assert_eq!((ring.notes.len(), ring.last()), (1, 7));
    let huge = [("uid".to_owned(), "7 *\n".repeat(MAX_TEXT))].into();
    assert!(Ring::decode(&huge).is_empty());
}

proptest! {
    /// Whatever is told: it is in the ring afterwards (exactly, or as a whole), and the ring stays small and readable.
    #[test]
    fn nothing_that_was_told_lately_is_forgotten(
        told in proptest::collection::vec((0..5_usize, 0..400_u32, 0..2_000_u64), 1..900),
    ) {
        let stores: Vec<Arc<str>> = (0..5).map(|i| format!("6c8f2d4e-0000-4000-8000-00000000000{i}").into()).collect();
        let (mut ring, mut at, mut last) = (Ring::default(), NOW, 0);
        let mut expected: HashMap<(usize, u32), (u64, Duration)> = HashMap::new();
        for (store, name, later) in told {
            at += Duration::from_millis(later);
            let changed = if name == 0 { Changed::All } else { key(&format!("{}{name}", "k".repeat(60))) };
            let seq = ring.add(&stores[store], hashes().about(&changed), at);
            prop_assert!(seq > last);
            last = seq;
            expected.insert((store, name), (seq, at));
        }
        for ((store, name), (seq, when)) in expected {
            if at - when > KEPT { continue }
            let about = hashes().about(&if name == 0 { Changed::All } else { key(&format!("{}{name}", "k".repeat(60))) });
            let there = ring.after(seq - 1).any(|n| n.store == stores[store] && (n.about == About::Whole || n.about == about));
            prop_assert!(there, "{store} {name}");
        }
        prop_assert!(ring.notes.is_sorted_by_key(|n| n.seq));
        let data = ring.encode();
        prop_assert!(data.values().map(String::len).sum::<usize>() < 80 * 1024);
        prop_assert_eq!(Ring::decode(&data), ring);
    }
}

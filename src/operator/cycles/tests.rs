#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

fn store(name: &str) -> StoreName {
    match name.split_once('/') {
        Some((namespace, name)) => StoreName { namespace: Some(namespace.into()), name: name.into() },
        None => StoreName { namespace: None, name: name.into() },
    }
}

fn secret(name: &str) -> SecretId {
    ("ns".into(), name.into())
}

fn needs(name: &str, secrets: &[&str]) -> StoreNeeds {
    StoreNeeds { store: store(name), credentials: secrets.iter().map(|s| secret(s)).collect() }
}

fn makes(name: &str, target: &str, from: &str) -> ReferenceMakes {
    ReferenceMakes { namespace: "ns".into(), name: name.into(), target: secret(target), store: store(from) }
}

#[test]
fn one_hop_is_told() {
    let found = cycles(&[needs("a", &["x"])], &[makes("r", "x", "a")]);
    let told =
        "store a needs Secret ns/x, which reference ns/r makes from store a: make one of these Secrets by other means";
    assert_eq!(found[&store("a")], told);
}

#[test]
fn two_hops_are_told_from_either_store() {
    let stores = [needs("a", &["x"]), needs("ns/b", &["w", "y"]), needs("c", &["x"]), needs("d", &[])];
    let references = [makes("r", "x", "ns/b"), makes("s", "y", "a"), makes("t", "z", "a"), makes("u", "w", "d")];
    let found = cycles(&stores, &references);
    assert_eq!(
        found[&store("a")],
        "store a needs Secret ns/x, which reference ns/r makes from store ns/b, which needs Secret ns/y, which reference \
         ns/s makes from store a: make one of these Secrets by other means"
    );
    assert!(
        found[&store("ns/b")].starts_with("store ns/b needs Secret ns/y, which reference ns/s makes from store a,")
    );
    // c only hangs on the cycle.
    assert_eq!(found.len(), 2);
}

#[test]
fn no_cycle_no_sentence() {
    let stores = [needs("a", &["x"]), needs("b", &["y"]), needs("c", &[])];
    let references = [makes("r", "x", "b"), makes("s", "y", "c"), makes("t", "y", "unknown")];
    assert!(cycles(&stores, &references).is_empty());
}

#[test]
fn many_references_and_a_long_cycle_take_no_time() {
    let n = 2_000;
    let stores: Vec<_> = (0..n).map(|i| needs(&format!("s{i}"), &[&format!("x{i}")])).collect();
    let mut references: Vec<_> =
        (0..n).map(|i| makes(&format!("r{i}"), &format!("x{i}"), &format!("s{}", (i + 1) % n))).collect();
    references.extend((0..10_000).map(|i| makes(&format!("q{i}"), &format!("q{i}"), "s0")));
    let found = cycles(&stores, &references);
    assert_eq!(found.len(), n);
    assert!(found[&store("s5")].contains("leads on over 1994 more to store s2, which needs Secret ns/x2"));
    assert!(found.values().all(|told| told.len() < 1_000));
    // A chain of the same length has none.
    references.remove(7);
    assert!(cycles(&stores, &references).is_empty());
}

proptest! {
    #[test]
    fn finds_what_the_closure_finds(
        credentials in prop::collection::vec(prop::collection::vec(0..8_usize, 0..3), 1..7),
        made in prop::collection::vec((0..8_usize, 0..7_usize), 0..10),
    ) {
        let names = |list: &[usize]| list.iter().map(|c| format!("x{c}")).collect::<Vec<_>>();
        let stores: Vec<StoreNeeds> = credentials.iter().enumerate().map(|(i, list)| {
            needs(&format!("s{i}"), &names(list).iter().map(String::as_str).collect::<Vec<_>>())
        }).collect();
        let references: Vec<ReferenceMakes> = made.iter().enumerate()
            .map(|(i, (target, from))| makes(&format!("r{i}"), &format!("x{target}"), &format!("s{from}"))).collect();
        let n = stores.len();
        let mut reaches = vec![vec![false; n]; n];
        for (target, from) in &made {
            for (i, list) in credentials.iter().enumerate() {
                if list.contains(target) && *from < n {
                    reaches[i][*from] = true;
                }
            }
        }
        for k in 0..n {
            for i in 0..n {
                for j in 0..n {
                    reaches[i][j] |= reaches[i][k] && reaches[k][j];
                }
            }
        }
        let found = find(&stores, &references);
        let expected: Vec<usize> = (0..n).filter(|i| reaches[*i][*i]).collect();
        prop_assert_eq!(found.keys().copied().collect::<Vec<_>>(), expected);
        for (start, hops) in &found {
            prop_assert_eq!(hops.first().unwrap().from, *start);
            prop_assert_eq!(hops.last().unwrap().to, *start);
            prop_assert!(hops.windows(2).all(|pair| pair[0].to == pair[1].from));
            for hop in hops {
                let reference = &references[hop.reference];
                prop_assert_eq!(&stores[hop.from].credentials[hop.credential], &reference.target);
                prop_assert_eq!(&stores[hop.to].store, &reference.store);
            }
        }
        let mut turned = references.clone();
        turned.reverse();
        prop_assert_eq!(cycles(&stores, &references), cycles(&stores, &turned));
    }
}

//! Stores that need themselves: a credential Secret that, at any depth, a reference makes from the same store.
//!
//! Such a store could never log in again after its Secret was lost, so it is told at once. Pure.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use super::model::StoreName;

/// Hops that a sentence tells in full; longer cycles are cut in the middle.
const TOLD: usize = 6;

/// A Secret: namespace and name.
pub type SecretId = (Arc<str>, Arc<str>);

/// What a store needs to log in.
#[derive(Clone, Debug)]
pub struct StoreNeeds {
    /// The store.
    pub store: StoreName,
    /// Its credential Secrets.
    pub credentials: Vec<SecretId>,
}

/// What a reference makes, and from which store.
#[derive(Clone, Debug)]
pub struct ReferenceMakes {
    /// The reference's namespace.
    pub namespace: Arc<str>,
    /// The reference's name.
    pub name: Arc<str>,
    /// The Secret it makes.
    pub target: SecretId,
    /// The store it reads.
    pub store: StoreName,
}

/// Store `from` needs a Secret that a reference makes from store `to`; all by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hop {
    from: usize,
    credential: usize,
    reference: usize,
    to: usize,
}

/// Every store that stands on a cycle, with a sentence that names the cycle and says what to do.
pub fn cycles(stores: &[StoreNeeds], references: &[ReferenceMakes]) -> BTreeMap<StoreName, String> {
    find(stores, references)
        .into_iter()
        .map(|(store, hops)| (stores[store].store.clone(), sentence(stores, references, &hops)))
        .collect()
}

/// A cycle for each store that stands on one, beginning with it.
fn find(stores: &[StoreNeeds], references: &[ReferenceMakes]) -> BTreeMap<usize, Vec<Hop>> {
    let mut all = hops(stores, references);
    for ends in [(|hop| (hop.from, hop.to)) as fn(&Hop) -> _, |hop| (hop.to, hop.from)] {
        let dead = dead_ends(&all, ends);
        all.retain(|hop| !dead.contains(&hop.from) && !dead.contains(&hop.to));
    }
    let mut hops: BTreeMap<usize, Vec<Hop>> = BTreeMap::new();
    for hop in all {
        hops.entry(hop.from).or_default().push(hop);
    }
    let starts: Vec<usize> = hops.keys().copied().collect();
    let mut found = BTreeMap::new();
    for start in starts {
        if found.contains_key(&start) {
            continue;
        }
        let Some(cycle) = shortest(&hops, start) else { continue };
        // Each store on it is on a cycle, too: the same one, told from there.
        for at in 0..cycle.len() {
            let told = || cycle[at..].iter().chain(&cycle[..at]).copied().collect();
            found.entry(cycle[at].from).or_insert_with(told);
        }
    }
    found
}

/// Few references make a credential: they are found by their target.
fn hops(stores: &[StoreNeeds], references: &[ReferenceMakes]) -> Vec<Hop> {
    let indices: HashMap<&StoreName, usize> = stores.iter().enumerate().map(|(i, s)| (&s.store, i)).collect();
    let mut needed: HashMap<&SecretId, Vec<(usize, usize)>> = HashMap::new();
    for (from, store) in stores.iter().enumerate() {
        for (credential, secret) in store.credentials.iter().enumerate() {
            needed.entry(secret).or_default().push((from, credential));
        }
    }
    let mut hops = Vec::new();
    for (reference, makes) in references.iter().enumerate() {
        let (Some(needed), Some(&to)) = (needed.get(&makes.target), indices.get(&makes.store)) else { continue };
        hops.extend(needed.iter().map(|&(from, credential)| Hop { from, credential, reference, to }));
    }
    // Whatever order the references came in, the same cycle is told.
    let key = |hop: &Hop| (hop.credential, &references[hop.reference].namespace, &references[hop.reference].name);
    hops.sort_by(|a, b| key(a).cmp(&key(b)));
    hops
}

/// Stores from which no way leads to a cycle; with the ends of the hops exchanged, to which none leads from one.
fn dead_ends(hops: &[Hop], ends: fn(&Hop) -> (usize, usize)) -> HashSet<usize> {
    let mut ways: HashMap<usize, usize> = HashMap::new();
    let mut before: HashMap<usize, Vec<usize>> = HashMap::new();
    for (from, to) in hops.iter().map(ends) {
        *ways.entry(from).or_default() += 1;
        before.entry(to).or_default().push(from);
    }
    let mut dead: HashSet<usize> = before.keys().filter(|store| !ways.contains_key(store)).copied().collect();
    let mut queue: Vec<usize> = dead.iter().copied().collect();
    while let Some(store) = queue.pop() {
        for from in before.get(&store).into_iter().flatten() {
            if let Some(left) = ways.get_mut(from) {
                *left -= 1;
                if *left == 0 && dead.insert(*from) {
                    queue.push(*from);
                }
            }
        }
    }
    dead
}

/// The shortest way from a store back to it.
fn shortest(hops: &BTreeMap<usize, Vec<Hop>>, start: usize) -> Option<Vec<Hop>> {
    let mut came_by: HashMap<usize, Hop> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(store) = queue.pop_front() {
        for hop in hops.get(&store).into_iter().flatten() {
            if came_by.contains_key(&hop.to) {
                continue;
            }
            came_by.insert(hop.to, *hop);
            queue.push_back(hop.to);
            if hop.to == start {
                return Some(back(&came_by, start));
            }
        }
    }
    None
}

fn back(came_by: &HashMap<usize, Hop>, start: usize) -> Vec<Hop> {
    let mut way = Vec::new();
    let mut at = start;
    while let Some(hop) = came_by.get(&at) {
        way.push(*hop);
        at = hop.from;
        if at == start {
            break;
        }
    }
    way.reverse();
    way
}

fn sentence(stores: &[StoreNeeds], references: &[ReferenceMakes], hops: &[Hop]) -> String {
    let tell = |hop: &Hop| {
        let (namespace, secret) = &stores[hop.from].credentials[hop.credential];
        let reference = &references[hop.reference];
        format!(
            "needs Secret {namespace}/{secret}, which reference {}/{} makes from store {}",
            reference.namespace,
            reference.name,
            stores[hop.to].store.label()
        )
    };
    let mut told: Vec<String> = Vec::new();
    if hops.len() > TOLD {
        let (first, last) = (&hops[..TOLD / 2], &hops[hops.len() - TOLD / 2..]);
        told.extend(first.iter().map(tell));
        let left_out = hops.len() - TOLD;
        told.push(format!(
            "leads on over {left_out} more to store {}, which {}",
            stores[last[0].from].store.label(),
            tell(&last[0])
        ));
        told.extend(last[1..].iter().map(tell));
    } else {
        told.extend(hops.iter().map(tell));
    }
    let start = hops.first().map(|hop| stores[hop.from].store.label()).unwrap_or_default();
    format!("store {start} {}: make one of these Secrets by other means", told.join(", which "))
}

#[cfg(test)]
#[path = "cycles/tests.rs"]
mod tests;

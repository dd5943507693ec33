//! What was planted, and the search for it: plain, in base64, in hexadecimal, URL-encoded, backwards, in parts of eight
//! characters, and as a hash that could be guessed offline.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
};

use aho_corasick::AhoCorasick;
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{md5::md5, unique};

/// Every planted value starts so: whatever holds it, holds a value.
pub const CANARY: &str = "canary-";

static PLANTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A new value to plant. The label helps to find the test that planted what was found. It ends in letters that are no
/// hexadecimal digits: of the many uids, names and trace ids in an output one would else hold part of a value by chance.
pub fn plant(label: &str) -> String {
    let letter = |digit: char| char::from(b'g' + u8::try_from(digit.to_digit(16).unwrap()).unwrap());
    let value = format!("{CANARY}{label}-{}", unique().chars().map(letter).collect::<String>());
    PLANTED.lock().unwrap().insert(value.clone());
    value
}

/// A token or secret id that a server made up.
pub fn plant_credential(credential: &str) -> String {
    assert!(credential.len() >= 8, "too short to search for");
    PLANTED.lock().unwrap().insert(credential.to_owned());
    credential.to_owned()
}

/// The search, made once for many texts.
pub struct Leaks {
    plain: AhoCorasick,
    needles: Vec<String>,
    /// The first 16 hexadecimal digits of a hash: shortened ones count, too.
    hashes: HashMap<String, (&'static str, String)>,
}

impl Leaks {
    /// For everything that was planted so far.
    pub fn new() -> Self {
        let mut plain = vec![CANARY.to_owned()];
        for text in [CANARY, &CANARY[..6]] {
            let codes = |form: fn(u8) -> String| text.bytes().map(form).collect::<String>();
            plain.extend([codes(|b| format!("{b:02x}")), codes(|b| format!("{b:02X}"))]);
            plain.extend([codes(|b| format!("%{b:02x}")), codes(|b| format!("%{b:02X}"))]);
            plain.push(text.chars().rev().collect());
        }
        plain.extend(["canary%2d", "canary%2D"].map(str::to_owned));
        // Inside a longer text, base64 of the marker stands in one of three forms; its ends depend on the neighbours.
        plain.extend((0..3).map(|skip| {
            let text = STANDARD.encode(format!("{}{CANARY}", "x".repeat(skip)));
            let from = [0, 2, 3][skip];
            let whole = (skip + CANARY.len()) / 3 * 4;
            text[from..whole].to_owned()
        }));
        let mut hashes = HashMap::new();
        for value in PLANTED.lock().unwrap().iter() {
            if value.starts_with(CANARY) {
                plain.extend(parts(value));
            } else {
                plain.extend([value.clone(), STANDARD.encode(value).trim_end_matches('=').to_owned()]);
            }
            for text in [value.clone(), STANDARD.encode(value)] {
                let bytes = text.as_bytes();
                let sha = |kind| hex(digest::digest(kind, bytes).as_ref());
                for (name, hash) in [
                    ("md5", hex(&md5(bytes))),
                    ("sha1", sha(&digest::SHA1_FOR_LEGACY_USE_ONLY)),
                    ("sha256", sha(&digest::SHA256)),
                ] {
                    hashes.insert(hash[..16].to_owned(), (name, value.clone()));
                }
            }
        }
        plain.sort();
        plain.dedup();
        Self { plain: AhoCorasick::new(&plain).unwrap(), needles: plain, hashes }
    }

    /// What a text holds of it: each with its surroundings.
    pub fn find(&self, text: &str) -> Vec<String> {
        let around = |at: usize| {
            let from = text.floor_char_boundary(at.saturating_sub(200));
            text[from..text.floor_char_boundary(at + 200)].to_owned()
        };
        let mut found: Vec<String> = Vec::new();
        let mut seen = BTreeSet::new();
        for hit in self.plain.find_overlapping_iter(text) {
            if seen.insert(hit.pattern()) {
                found.push(format!("{} in: {}", self.needles[hit.pattern()], around(hit.start())));
            }
        }
        let lower = text.to_ascii_lowercase();
        let mut at = 0;
        for word in lower.split(|c: char| !c.is_ascii_hexdigit()) {
            if let Some((kind, value)) = word.get(..16).and_then(|start| self.hashes.get(start)) {
                found.push(format!("{kind} of {value} in: {}", around(at)));
            }
            at += word.len() + 1;
        }
        found
    }

    /// Fails when the text holds anything that was planted.
    #[track_caller]
    pub fn assert_none(&self, what: &str, text: &str) {
        let found = self.find(text);
        assert!(found.is_empty(), "{what} holds what was planted:\n{}", found.join("\n"));
    }
}

/// Eight characters in a row that nothing else is likely to hold: those that reach far into what makes a value one of its
/// own, its end.
fn parts(value: &str) -> Vec<String> {
    let characters: Vec<char> = value.chars().collect();
    let first = characters.len().saturating_sub(10);
    characters[first..].windows(8).map(|part| part.iter().collect()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The search itself is not blind.
#[test]
fn finds_every_form() {
    let value = plant("form");
    let token = plant_credential("hvs.some-token-of-a-server");
    let leaks = Leaks::new();
    let encode = |text: &str| STANDARD.encode(text);
    let sha256 = hex(digest::digest(&digest::SHA256, value.as_bytes()).as_ref());
    for text in [
        format!("a {value} b"),
        format!("token={token}"),
        encode(&value),
        encode(&format!("1{value}")),
        encode(&format!("{{\"k\":\"{value}\"}}")),
        encode(&token),
        format!("etag {sha256}, "),
        format!("short {}", &sha256[..20].to_uppercase()),
        format!("id:{}", hex(&md5(value.as_bytes()))),
        hex(value.as_bytes()),
        value.bytes().map(|b| format!("%{b:02X}")).collect(),
        value.chars().rev().collect(),
        format!("...{}...", &value[value.len() - 9..value.len() - 1]),
    ] {
        assert!(!leaks.find(&text).is_empty(), "{text}");
    }
    assert!(leaks.find("acme--db-password is not there: create it; uid 3a1f09c2-77aa").is_empty());
}

//! Documents with a few things wrong, for the parsers' fuzz tests: what is really sent, changed as a tree, as text and
//! as bytes; and, now and then, bytes that are nothing of the kind.

use std::fmt::{Debug, Display};

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

/// How planted values begin. No error repeats one.
pub(crate) const CANARY: &str = "canary-";

/// Texts that something has stumbled over somewhere.
const ODD: [&str; 34] = [
    "",
    " ",
    "\0",
    "\u{1}",
    "\u{feff}",
    "\r\n",
    "\n",
    "\u{202e}",
    "\u{85}",
    "é",
    "🔑",
    "İ",
    "--",
    "-",
    "..",
    "/",
    "\\",
    "\"",
    "'",
    "{{",
    "}}",
    "{%",
    "%00",
    "+1",
    "=",
    ":",
    ";",
    "#",
    ",",
    "null",
    "true",
    "99999999999999999999",
    "1e999",
    "GLOBAL",
];

/// What is done, where, and how.
type Step = (u8, u32, u32);

/// Bytes that are nearly one of these documents.
pub(crate) fn bytes(seeds: impl IntoIterator<Item = impl Into<String>>) -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<String> = seeds.into_iter().map(Into::into).collect();
    let steps = |most| vec(any::<Step>(), 0..=most);
    prop_oneof![
        3 => (select(seeds.clone()), steps(3)).prop_map(|(seed, steps)| in_tree(&seed, &steps).into_bytes()),
        3 => (select(seeds.clone()), steps(4)).prop_map(|(seed, steps)| in_bytes(seed.into_bytes(), &steps)),
        2 => (select(seeds), steps(2), steps(2))
            .prop_map(|(seed, tree, bytes)| in_bytes(in_tree(&seed, &tree).into_bytes(), &bytes)),
        1 => vec(any::<u8>(), 0..300),
        1 => ".{0,80}".prop_map(String::into_bytes),
    ]
}

/// The same as text.
pub(crate) fn texts(seeds: impl IntoIterator<Item = impl Into<String>>) -> impl Strategy<Value = String> {
    bytes(seeds).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// A document of which an end is missing: never the whole.
pub(crate) fn cut(seeds: impl IntoIterator<Item = impl Into<String>>) -> impl Strategy<Value = String> {
    let seeds: Vec<String> = seeds.into_iter().map(Into::into).collect();
    (select(seeds), any::<prop::sample::Index>()).prop_map(|(seed, at)| {
        let ends: Vec<usize> = seed.char_indices().map(|(at, _)| at).collect();
        seed[..ends[at.index(ends.len())]].to_owned()
    })
}

/// What a document says, for a test to compare; null, if it is none. Nothing, if it holds a number that no float holds:
/// whoever skips that number reads on.
pub(crate) fn said(body: &[u8]) -> Option<Value> {
    match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
        Ok(_) => serde_json::from_slice(body).ok(),
        Err(_) => Some(Value::Null),
    }
}

/// An error repeats no value, in no form in which it is shown.
pub(crate) fn assert_silent(error: &(impl Debug + Display)) {
    let shown = format!("{error} {error:?} {error:#?}");
    assert!(!shown.contains(CANARY), "{shown}");
}

fn in_tree(seed: &str, steps: &[Step]) -> String {
    let Ok(mut tree) = serde_json::from_str::<Value>(seed) else { return seed.to_owned() };
    for (kind, at, how) in steps {
        let mut left = *at as usize % count(&tree);
        if let Some(node) = nth(&mut tree, &mut left) {
            change(node, *kind, *how as usize);
        }
    }
    tree.to_string()
}

fn count(tree: &Value) -> usize {
    1 + match tree {
        Value::Array(items) => items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

fn nth<'a>(tree: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(tree);
    }
    *left -= 1;
    match tree {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, left)),
        Value::Object(fields) => fields.values_mut().find_map(|field| nth(field, left)),
        _ => None,
    }
}

fn change(node: &mut Value, kind: u8, how: usize) {
    let word = ODD[how % ODD.len()];
    match (kind % 10, &mut *node) {
        (4, Value::Object(fields)) if !fields.is_empty() => {
            let name = fields.keys().nth(how % fields.len()).cloned().unwrap_or_default();
            fields.remove(&name);
        }
        (5, Value::Object(fields)) if !fields.is_empty() => {
            let name = fields.keys().nth(how % fields.len()).cloned().unwrap_or_default();
            let value = fields.remove(&name).unwrap_or_default();
            fields.insert(word.to_owned(), value);
        }
        // What serde takes for a struct, too.
        (6, Value::Object(fields)) => *node = fields.values().cloned().collect(),
        (7, Value::String(text)) => text.insert_str(0, word),
        (8, Value::String(text)) => text.push_str(word),
        (9, Value::Array(items)) if !items.is_empty() => {
            let item = items[how % items.len()].clone();
            items.extend(vec![item; how % 40]);
        }
        (2, _) => *node = vec![node.take(); 1 + how % 3].into(),
        (3, _) => *node = json!({ word: node.take() }),
        _ => *node = odd(how),
    }
}

fn odd(how: usize) -> Value {
    match how % 20 {
        0 => Value::Null,
        1 => true.into(),
        2 => false.into(),
        3 => 0.into(),
        4 => (-1).into(),
        5 => 1.5.into(),
        6 => u64::MAX.into(),
        7 => i64::MIN.into(),
        8 => i64::MAX.into(),
        9 => f64::MAX.into(),
        10 => json!([]),
        11 => json!({}),
        12 => "7".into(),
        13 => format!("{CANARY}odd").into(),
        // The words by which errors of libraries are taken apart.
        14 => format!("x expected {CANARY}odd, missing field").into(),
        15 => (0..how % 200).fold(Value::Null, |inner, _| json!([inner])),
        16 => (0..how % 100).fold(Value::Null, |inner, _| json!({ "a": inner })),
        17 => "x".repeat(how % 70_000).into(),
        _ => ODD[how % ODD.len()].into(),
    }
}

fn in_bytes(mut bytes: Vec<u8>, steps: &[Step]) -> Vec<u8> {
    for (kind, at, how) in steps {
        spoil(&mut bytes, *kind, *at as usize, *how as usize);
    }
    bytes
}

fn spoil(bytes: &mut Vec<u8>, kind: u8, at: usize, how: usize) {
    let at = at % (bytes.len() + 1);
    let end = (at + how % 20).min(bytes.len());
    let after = |wanted: &dyn Fn(u8) -> bool| bytes[at..].iter().position(|b| wanted(*b)).map(|found| at + found);
    match kind % 13 {
        0 if at < bytes.len() => bytes[at] ^= 1 << (how % 8),
        1 => drop(bytes.splice(at..at, ODD[how % ODD.len()].bytes())),
        2 => drop(bytes.drain(at..end)),
        3 => bytes.truncate(at),
        4 => {
            let part = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, part));
        }
        5 => {
            let deep = if how.is_multiple_of(2) { "[" } else { "{\"a\":" }.repeat(how % 400);
            drop(bytes.splice(at..at, deep.into_bytes()));
        }
        // A key twice, with another value.
        6 => {
            if let Some(brace) = after(&|b| b == b'{')
                && let Some(colon) = bytes[brace..].iter().position(|b| *b == b':').map(|found| brace + found)
            {
                let twice = [&bytes[brace + 1..=colon], odd(how).to_string().as_bytes(), b","].concat();
                drop(bytes.splice(brace + 1..brace + 1, twice));
            }
        }
        7 => {
            if let Some(digit) = after(&|b| b.is_ascii_digit()) {
                let giant = ["99999999999999999999", "1e999", "-9223372036854775808", "18446744073709551615", "0"];
                drop(bytes.splice(digit..=digit, giant[how % giant.len()].bytes()));
            }
        }
        8 => *bytes = bytes.iter().flat_map(|b| if *b == b'\n' { vec![b'\r', b'\n'] } else { vec![*b] }).collect(),
        9 => drop(bytes.splice(0..0, "\u{feff}".bytes())),
        10 => {
            if let Some(quote) = after(&|b| b == b'"') {
                drop(bytes.splice(quote + 1..quote + 1, *b"\\ud800"));
            }
        }
        11 => drop(bytes.splice(at..at, [[0xff, 0xc3, 0xed, 0x00][how % 4]])),
        _ => bytes.extend_from_within(at..),
    }
}

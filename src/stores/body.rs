//! Bodies that may hold values: wiped when the last that needs them lets go.

use std::{
    fmt,
    io::{self, Write},
    marker::PhantomData,
};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use zeroize::Zeroizing;

use crate::secret::SecretValue;

/// JSON as bytes that are wiped when the last clone is dropped.
///
/// # Errors
/// When something in it cannot be written as JSON.
pub(super) fn json(value: &impl Serialize) -> serde_json::Result<Bytes> {
    // Counted first: a buffer that grows leaves its old bytes behind, unwiped.
    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, value)?;
    let mut buffer = Zeroizing::new(Vec::with_capacity(counted.0));
    serde_json::to_writer(&mut *buffer, value)?;
    Ok(Bytes::from_owner(buffer))
}

/// The text that a JSON string stands for. A parser would leave copies behind that nobody wipes.
pub(super) fn unquote(raw: &str) -> Option<SecretValue> {
    let mut rest = raw.strip_prefix('"')?.strip_suffix('"')?;
    // Never longer than what it is written as, so it does not grow.
    let mut text = Zeroizing::new(Vec::with_capacity(rest.len()));
    while let Some(at) = rest.find('\\') {
        text.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = *rest.as_bytes().get(at + 1)?;
        rest = rest.get(at + 2..)?;
        let plain = match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let unit = |rest: &mut &str| {
                    let unit = u16::from_str_radix(rest.get(..4)?, 16).ok();
                    *rest = rest.get(4..)?;
                    unit
                };
                let first = unit(&mut rest)?;
                let second = match first {
                    0xD800..0xDC00 => {
                        rest = rest.strip_prefix("\\u")?;
                        Some(unit(&mut rest)?)
                    }
                    _ => None,
                };
                let character = char::decode_utf16([first].into_iter().chain(second)).next()?.ok()?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        };
        text.push(plain);
    }
    text.extend_from_slice(rest.as_bytes());
    Some(SecretValue::new(std::mem::take(&mut *text)))
}

/// A JSON object. Serde takes the bare list of a struct's fields for it, too: `[[]]` would be the `{"errors":[]}` of a
/// server that is certain.
pub(super) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// More than any secret, any list of 10,000 names and any error page takes.
pub(super) const MAX: usize = 4 << 20;

/// A body that arrives in pieces.
pub(super) struct Gathered(Zeroizing<Vec<u8>>);

/// It has more than [`MAX`] bytes.
pub(super) struct TooLong;

impl Gathered {
    /// For as many bytes as were announced.
    pub(super) fn new(announced: u64) -> Result<Self, TooLong> {
        let announced = usize::try_from(announced).unwrap_or(usize::MAX);
        if announced > MAX { Err(TooLong) } else { Ok(Self(Zeroizing::new(Vec::with_capacity(announced.max(4096))))) }
    }

    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), TooLong> {
        let needed = self.0.len() + piece.len();
        if needed > MAX {
            return Err(TooLong);
        }
        if needed > self.0.capacity() {
            // Grown by hand: a Vec that grows by itself leaves its old bytes behind, unwiped.
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.0.capacity())));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(piece);
        Ok(())
    }

    pub(super) fn whole(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

struct Counted(usize);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_never_grows() {
        let value = serde_json::json!({ "a": "canary-\u{1}\"ü", "b": [1, null, { "c": 1.5 }] });
        assert_eq!(json(&value).unwrap(), serde_json::to_vec(&value).unwrap());
    }

    proptest::proptest! {
        #[test]
        fn strings_are_what_a_parser_says(text: String, raw in "(\\\\[\"\\\\/bfnrtux]|\\\\u[0-9a-fD-F]{4}|[a-z\"é🔑])*") {
            let written = serde_json::to_string(&text).unwrap();
            let unquoted = unquote(&written).unwrap();
            proptest::prop_assert_eq!(unquoted.expose(), text.as_bytes());
            let raw = format!("\"{raw}\"");
            let parsed = serde_json::from_str::<String>(&raw).ok();
            // A quote in the middle ends a JSON string; nobody asks about such.
            if let Some(parsed) = parsed {
                let unquoted = unquote(&raw).unwrap();
                proptest::prop_assert_eq!(unquoted.expose(), parsed.as_bytes());
            }
        }
    }
}

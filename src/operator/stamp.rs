//! The mark that a target carries: for which reference, generation and data it was written.
//!
//! Fingerprints are keyed with a per-installation key, so that a low-entropy value cannot be guessed from them.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    str::FromStr,
    sync::Arc,
};

use aws_lc_rs::{digest, hmac};

use crate::{refresh::State, resolve::Read, secret::SecretValue};

/// Prefix of the annotation; the reference's name (or a hash of a long one) follows.
pub const STAMP_PREFIX: &str = "stamp.secretref.dev/";

/// The per-installation key.
#[derive(Clone)]
pub struct Fingerprints {
    key: hmac::Key,
    id: String,
}

impl fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprints({})", self.id)
    }
}

impl Fingerprints {
    /// From the key's bytes, which are random: their hash is a safe id.
    pub fn new(key: &SecretValue) -> Self {
        let id = hex(&digest::digest(&digest::SHA256, key.expose()).as_ref()[..4]);
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key.expose()), id }
    }

    /// Which key this is.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Of (reference uid, generation, data): equal means that there is nothing to write.
    pub fn target(&self, uid: &str, generation: i64, data: &BTreeMap<String, SecretValue>) -> String {
        let mut mac = self.start("target", uid);
        mac.update(&generation.to_be_bytes());
        feed(&mut mac, data);
        hex(&mac.sign().as_ref()[..16])
    }

    /// Of (reference uid, data): different means that workloads see other values.
    pub fn values(&self, uid: &str, data: &BTreeMap<String, SecretValue>) -> String {
        let mut mac = self.start("values", uid);
        feed(&mut mac, data);
        hex(&mac.sign().as_ref()[..16])
    }

    /// Of what the store said about one key.
    pub fn source(&self, uid: &str, read: &Read, state: &State) -> Source {
        let mut mac = self.start("source", uid);
        let (kind, name) = match read {
            Read::Key(key, _) => ("key", key.as_str()),
            Read::List(prefix) => ("list", prefix.as_str()),
        };
        part(&mut mac, kind.as_bytes());
        part(&mut mac, name.as_bytes());
        match state {
            State::Present(token) => {
                let [mark, age] = token.lasting();
                part(&mut mac, mark.as_bytes());
                if !age.is_empty() {
                    part(&mut mac, age.as_bytes());
                }
            }
            State::Absent | State::Failed(_) => part(&mut mac, b""),
            State::Listed(keys) => keys.iter().for_each(|k| part(&mut mac, k.as_str().as_bytes())),
        }
        let mut source = Source::default();
        source.copy_from_slice(&mac.sign().as_ref()[..SOURCE_BYTES]);
        source
    }

    /// Of what the store said about every key: after a restart each is checked as it is polled, and only what is not
    /// among them has to be resolved again.
    pub fn sources<'a>(&self, uid: &str, sources: impl IntoIterator<Item = (&'a Read, &'a State)>) -> Sources {
        let mut all: Vec<Source> = sources.into_iter().map(|(read, state)| self.source(uid, read, state)).collect();
        all.sort_unstable();
        Sources(all.into())
    }

    fn start(&self, what: &str, uid: &str) -> hmac::Context {
        let mut mac = hmac::Context::with_key(&self.key);
        part(&mut mac, what.as_bytes());
        part(&mut mac, uid.as_bytes());
        mac
    }
}

fn feed(mac: &mut hmac::Context, data: &BTreeMap<String, SecretValue>) {
    for (key, value) in data {
        part(mac, key.as_bytes());
        part(mac, value.expose());
    }
}

/// Length first, so that no two lists of parts feed the same bytes.
fn part(mac: &mut hmac::Context, bytes: &[u8]) {
    mac.update(&(bytes.len() as u64).to_be_bytes());
    mac.update(bytes);
}

/// Bytes of one source's fingerprint: there are few of them, and each is looked up under its own key's name.
const SOURCE_BYTES: usize = 5;

/// The fingerprint of one source.
pub type Source = [u8; SOURCE_BYTES];

/// Fingerprints of all sources of a target; in the annotation as hexadecimal, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(Arc<[Source]>);

impl Sources {
    /// Whether this fingerprint is among them.
    pub fn contains(&self, source: &Source) -> bool {
        self.0.contains(source)
    }
}

impl FromStr for Sources {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let source = |digits: &[u8]| {
            let mut source = Source::default();
            for (byte, digits) in source.iter_mut().zip(digits.chunks(2)) {
                *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
            }
            Some(source)
        };
        text.as_bytes().chunks(SOURCE_BYTES * 2).map(source).collect::<Option<_>>().map(Self).ok_or(())
    }
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|source| f.write_str(&hex(source)))
    }
}

/// What the annotation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which key made the fingerprints.
    pub key_id: String,
    /// [`Fingerprints::target`].
    pub target: String,
    /// The reference's uid.
    pub uid: String,
    /// The reference's generation.
    pub generation: i64,
    /// Hash of the set of fields that were applied.
    pub fields: String,
    /// [`Fingerprints::sources`].
    pub sources: Sources,
    /// [`Fingerprints::values`].
    pub values: String,
    /// The organisation whose values these are.
    pub org: Option<String>,
    /// The platform-wide scope was open to it.
    pub global: bool,
    /// Keys are removed when the reference is gone.
    pub delete: bool,
    /// How often the reference has given it other content: the status says the same, or was not written.
    pub revision: i64,
    /// The revision that workloads were, or are, to be restarted for; 0: none.
    pub restart: i64,
}

impl Stamp {
    /// A short form of [`Self::target`], to tell one content from another.
    pub fn content(&self) -> Option<u64> {
        u64::from_str_radix(self.target.get(..16)?, 16).ok()
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key_id, target, uid, generation, fields, sources, values, org, global, delete, revision, restart } =
            self;
        let org = org.as_deref().unwrap_or("-");
        let scopes = if *global { "Global" } else { "Own" };
        let policy = if *delete { "Delete" } else { "Retain" };
        write!(f, "{key_id}:{target}:{uid}:{generation}:{fields}:{sources}:{values}:{org}:")?;
        write!(f, "{revision}:{restart}:{scopes}:{policy}")
    }
}

impl FromStr for Stamp {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split(':').collect();
        let [key_id, target, uid, generation, fields, sources, values, org, revision, restart, scopes, policy] =
            parts[..]
        else {
            return Err(());
        };
        let stamp = Self {
            key_id: key_id.into(),
            target: target.into(),
            uid: uid.into(),
            generation: generation.parse().map_err(|_| ())?,
            fields: fields.into(),
            sources: sources.parse()?,
            values: values.into(),
            org: (org != "-").then(|| org.to_owned()),
            global: scopes == "Global",
            delete: policy == "Delete",
            revision: revision.parse().map_err(|_| ())?,
            restart: restart.parse().map_err(|_| ())?,
        };
        // What lost its end on the way would say Retain where it said Delete.
        (stamp.to_string() == text).then_some(stamp).ok_or(())
    }
}

/// The annotation of a reference of this name.
pub fn annotation(reference: &str) -> String {
    format!("{STAMP_PREFIX}{}", slug(reference))
}

/// The field manager of a reference that merges: one for each, or each would delete the other's keys.
pub fn merge_manager(reference: &str) -> String {
    format!("secretref/{}", slug(reference))
}

/// A name of at most 63 characters that stands for the reference's.
pub fn slug(name: &str) -> String {
    if name.len() <= 63 { name.to_owned() } else { short_hash(name.as_bytes()) }
}

/// A hash of public text, never of values.
pub fn short_hash(text: &[u8]) -> String {
    hex(&digest::digest(&digest::SHA256, text).as_ref()[..8])
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fingerprints_depend_on_key_reference_generation_and_data() {
        let prints = Fingerprints::new(&"k".to_owned().into());
        let data = |k: &str, v: &str| BTreeMap::from([(k.to_owned(), SecretValue::from(v.to_owned()))]);
        let base = prints.target("u", 1, &data("a", "bc"));
        assert_eq!(base, prints.target("u", 1, &data("a", "bc")));
        for other in [
            prints.target("u", 2, &data("a", "bc")),
            prints.target("v", 1, &data("a", "bc")),
            prints.target("u", 1, &data("ab", "c")),
            Fingerprints::new(&"l".to_owned().into()).target("u", 1, &data("a", "bc")),
        ] {
            assert_ne!(base, other);
        }
        assert_eq!(prints.values("u", &data("a", "b")), prints.values("u", &data("a", "b")));
    }

    #[test]
    fn a_stamp_survives_the_annotation() {
        let stamp = Stamp {
            key_id: "0a".into(),
            target: "t".into(),
            uid: "u-1".into(),
            generation: 7,
            fields: "f".into(),
            sources: "00112233445566778899".parse().unwrap(),
            values: "v".into(),
            org: None,
            global: true,
            delete: true,
            revision: 3,
            restart: 2,
        };
        assert_eq!(stamp.to_string().parse(), Ok(stamp));
        assert_eq!("x:y".parse::<Stamp>(), Err(()));
        assert!(annotation(&"n".repeat(253)).len() < 100);
    }
}

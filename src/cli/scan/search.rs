//! Many files, many values, each byte looked at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use aho_corasick::{AhoCorasick, MatchKind};
use ignore::{WalkBuilder, WalkState};
use zeroize::Zeroizing;

use super::forms;
use crate::secret::SecretValue;

/// So much of a file at once.
const PIECE: usize = 1 << 20;

/// What is looked for.
pub(super) struct Patterns {
    automata: Option<Automata>,
    /// Key and form of each pattern.
    names: Vec<(String, &'static str)>,
    longest: usize,
}

struct Automata {
    /// Many times faster, since it may skip: most pieces hold nothing.
    any: AhoCorasick,
    /// Which ones, overlapping ones, too: one value may be part of another.
    all: AhoCorasick,
}

/// A value in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) form: &'static str,
}

/// Everything that was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) places: BTreeSet<Place>,
    pub(super) files: usize,
    /// Why something was not read.
    pub(super) unread: Vec<String>,
}

impl Patterns {
    pub(super) fn new(secrets: &BTreeMap<String, SecretValue>) -> Result<Self, Box<dyn Error>> {
        let (mut names, mut texts) = (Vec::new(), Vec::new());
        for (key, value) in secrets {
            for (form, text) in forms::of(value.expose()) {
                names.push((key.clone(), form));
                texts.push(text);
            }
        }
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or_default();
        let build = |kind| {
            let built = AhoCorasick::builder().match_kind(kind).build(texts.iter().map(|text| text.as_slice()));
            built.map_err(|_| "the values are too many or too long to look for: name fewer references")
        };
        let automata = match texts.is_empty() {
            true => None,
            false => Some(Automata { any: build(MatchKind::LeftmostFirst)?, all: build(MatchKind::Standard)? }),
        };
        Ok(Self { automata, names, longest })
    }

    /// Room for a piece, and for the end of the one before it: a value may lie across.
    fn buffer(&self, piece: usize) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(vec![0; self.longest + piece])
    }

    /// The places in one file, read into this buffer piece by piece.
    fn places(
        &self,
        mut file: impl Read,
        buffer: &mut [u8],
        path: &Path,
        places: &mut BTreeSet<Place>,
    ) -> std::io::Result<()> {
        let Some(automata) = &self.automata else { return Ok(()) };
        let (mut held, mut line) = (0, 1);
        loop {
            let read = file.read(&mut buffer[held..])?;
            if read == 0 {
                return Ok(());
            }
            let filled = held + read;
            let (mut counted, mut here) = (0, line);
            let piece = &buffer[..filled];
            let matches = automata.any.is_match(piece).then(|| automata.all.find_overlapping_iter(piece));
            for found in matches.into_iter().flatten() {
                // The iterator goes by ends; a start may lie before what was counted.
                if found.start() >= counted {
                    here += newlines(&buffer[counted..found.start()]);
                    counted = found.start();
                    self.note(path, here, found.pattern().as_usize(), places);
                } else {
                    let before = here - newlines(&buffer[found.start()..counted]);
                    self.note(path, before, found.pattern().as_usize(), places);
                }
            }
            let keep = (self.longest - 1).min(filled);
            line += newlines(&buffer[..filled - keep]);
            buffer.copy_within(filled - keep..filled, 0);
            held = keep;
        }
    }

    fn note(&self, path: &Path, line: usize, pattern: usize, places: &mut BTreeSet<Place>) {
        if let Some((key, form)) = self.names.get(pattern) {
            places.insert(Place { file: path.to_owned(), line, key: key.clone(), form });
        }
    }
}

fn newlines(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}

/// Every file of these trees.
pub(super) fn tree(paths: &[PathBuf], patterns: &Patterns) -> Found {
    let Some((first, rest)) = paths.split_first() else { return Found::default() };
    let mut walk = WalkBuilder::new(first);
    rest.iter().for_each(|path| _ = walk.add(path));
    // What is ignored by version control is what was built.
    walk.standard_filters(false).follow_links(false);
    walk.threads(std::thread::available_parallelism().map_or(1, usize::from));
    let found = Mutex::new(Found::default());
    let lock = || found.lock().unwrap_or_else(PoisonError::into_inner);
    walk.build_parallel().run(|| {
        let mut buffer = patterns.buffer(PIECE);
        let (lock, patterns) = (&lock, patterns);
        Box::new(move |entry| {
            let path = match entry {
                Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_file()) => entry.into_path(),
                Ok(_) => return WalkState::Continue,
                Err(error) => {
                    lock().unread.push(error.to_string());
                    return WalkState::Continue;
                }
            };
            let mut places = BTreeSet::new();
            let result = File::open(&path).and_then(|file| patterns.places(file, &mut buffer, &path, &mut places));
            let mut found = lock();
            found.files += 1;
            found.places.append(&mut places);
            if let Err(error) = result {
                found.unread.push(format!("{} cannot be read ({})", path.display(), error.kind()));
            }
            WalkState::Continue
        })
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_are_right_across_pieces() {
        let file = std::env::temp_dir().join(format!("secretref-scan-{:016x}", rand::random::<u64>()));
        let secrets = BTreeMap::from([
            ("A".to_owned(), SecretValue::from("canary-\nvalue".to_owned())),
            ("B".to_owned(), SecretValue::from("canary-".to_owned())),
        ]);
        // The longest form decides where pieces end: the value is put across every such place.
        let patterns = Patterns::new(&secrets).unwrap();
        for shift in [0, 1, 7, 19, 20, 21, 33] {
            let before = "x".repeat(PIECE + patterns.longest - 20 - 2) + "\n\n";
            let text = format!("{before}{}canary-\nvalue\nend canary-\n", " ".repeat(shift));
            std::fs::write(&file, text).unwrap();
            let mut places = BTreeSet::new();
            patterns.places(File::open(&file).unwrap(), &mut patterns.buffer(PIECE), &file, &mut places).unwrap();
            let places: Vec<_> = places.iter().map(|p| (p.line, p.key.as_str(), p.form)).collect();
            assert_eq!(places, [(3, "A", "plain"), (3, "B", "plain"), (5, "B", "plain")], "{shift}");
        }
        std::fs::remove_file(&file).unwrap();
    }
}

//! Server-sent events, taken apart as they arrive.

/// The longest event that is taken: some thousand secrets of one import.
const MAX: usize = 1 << 20;

/// One event. Its name is said in the data, too.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub data: Vec<u8>,
}

/// An event that is longer than anything a server sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// What has arrived of the next event.
#[derive(Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    /// A line feed that comes next belongs to this line's end.
    returned: bool,
}

impl Events {
    /// Takes what arrived; answers the events that are whole now. Those without data are none: pings and comments.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for byte in chunk {
            let after_return = std::mem::replace(&mut self.returned, *byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => events.extend(self.end_of_line()),
                _ if self.line.len() + self.data.len() >= MAX => return Err(TooLong),
                _ => self.line.push(*byte),
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return (!data.is_empty()).then_some(Event { data });
        }
        if let Some(text) = line.strip_prefix(b"data:") {
            if !self.data.is_empty() {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(text.strip_prefix(b" ").unwrap_or(text));
        }
        None
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &[u8], size: usize) -> Vec<String> {
        let mut events = Events::default();
        let found = text.chunks(size).flat_map(|chunk| events.push(chunk).unwrap());
        found.map(|event| String::from_utf8(event.data).unwrap()).collect()
    }

    #[test]
    fn events_are_whole_however_they_arrive() {
        let stream = b": hello\n\nevent: ping\n\nid: 1\nevent: secret:update\ndata: {\"a\":1}\n\ndata:one\r\ndata: two\r\n\r\ndata: three\r\rretry: 5\n\ndata: not yet\n";
        for size in [1, 2, 3, 7, 1000] {
            assert_eq!(all(stream, size), ["{\"a\":1}", "one\ntwo", "three"], "{size}");
        }
    }

    #[test]
    fn what_never_ends_is_given_up() {
        let mut events = Events::default();
        let chunk = [b'x'; 1 << 16];
        assert!((0..17).any(|_| events.push(&chunk) == Err(TooLong)));
        let mut events = Events::default();
        let line = [b"data: ".as_slice(), &chunk, b"\n"].concat();
        assert!((0..17).any(|_| events.push(&line) == Err(TooLong)));
    }

    proptest! {
        #[test]
        fn junk_is_taken_and_the_cut_does_not_matter(junk in proptest::collection::vec(any::<u8>(), 0..400), cut in 1..50_usize) {
            let mut one = Events::default();
            let mut many = Events::default();
            let whole = one.push(&junk).unwrap();
            let parts: Vec<Event> = junk.chunks(cut).flat_map(|part| many.push(part).unwrap()).collect();
            prop_assert_eq!(whole, parts);
        }
    }
}

//! What is sent to a store: JSON that may hold values, wiped when the last that needs it lets go.

use std::io::{self, Write};

use bytes::Bytes;
use serde::Serialize;
use zeroize::Zeroizing;

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
mod tests {
    use super::*;

    #[test]
    fn the_buffer_never_grows() {
        let value = serde_json::json!({ "a": "canary-\u{1}\"ü", "b": [1, null, { "c": 1.5 }] });
        assert_eq!(json(&value).unwrap(), serde_json::to_vec(&value).unwrap());
    }
}

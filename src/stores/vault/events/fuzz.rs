use std::io::Cursor;

use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::WebSocket;

use super::*;
use crate::mutants;

const EVENTS: [&str; 2] = [
    r#"{"id":"a3be","source":"vault://vault-0","specversion":"1.0","type":"*","data":{"event":{"id":"a3be","metadata":{"current_version":"1","modified":"true","oldest_version":"0","path":"secret/data/acme--db"}},"event_type":"kv-v2/data-write","plugin_info":{"mount_class":"secret","mount_path":"secret/","plugin":"kv"}},"datacontentype":"application/cloudevents"}"#,
    r#"{"data":{"event":{"metadata":{"path":"secret/acme/x"}},"event_type":"kv-v1/write"}}"#,
];

/// A frame as a server writes it: not masked.
fn frame(opcode: u8, text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [&[0x80 | opcode, 126], &length.to_be_bytes()[..], &text[..length.into()]].concat()
}

proptest! {
    #[test]
    fn an_event_names_a_key_of_this_mount_or_nothing(message in mutants::bytes(EVENTS)) {
        if let Some(told) = notice(&message, "secret") {
            let Notice::Key(key) = told else { panic!("{told:?}") };
            prop_assert!(!key.as_str().is_empty() && !key.as_str().chars().any(char::is_control));
            let Some(said) = mutants::said(&message).map(|said| said.to_string()) else { return Ok(()) };
            let name = serde_json::Value::from(key.as_str()).to_string();
            prop_assert!(said.contains("\"secret/") && said.contains(&format!("/{}", &name[1..])), "{} of {}", key, said);
        }
    }

    /// Frames that are cut, forged or far too long end the stream, and nothing larger than an event is ever held.
    #[test]
    fn frames_are_taken_or_end_the_stream(
        frames in prop::collection::vec((0..16_u8, mutants::bytes(EVENTS)), 0..4),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 0..4),
    ) {
        let mut sent: Vec<u8> = frames.iter().flat_map(|(opcode, text)| frame(*opcode, text)).collect();
        for (at, bit) in flips {
            if !sent.is_empty() {
                let at = at.index(sent.len());
                sent[at] ^= 1 << bit;
            }
        }
        let most = sent.len() + 1;
        let mut socket = WebSocket::from_raw_socket(Cursor::new(sent), Role::Client, Some(limits()));
        let mut heard = 0;
        while let Ok(message) = socket.read() {
            prop_assert!(message.len() <= MAX);
            said(&message.into_data(), "secret");
            heard += 1;
            prop_assert!(heard <= most, "a stream of {} bytes does not end", most);
        }
    }
}

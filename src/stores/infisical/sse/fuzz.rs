use proptest::prelude::*;

use super::*;
use crate::mutants;

const STREAMS: [&str; 2] = [
    ": hello\n\nevent: secret:update\nid: 1\ndata: {\"data\":{\"eventType\":\"secret:update\"}}\n\ndata: two\ndata: lines\n\n",
    "event: ping\r\ndata:\r\n\r\nretry: 5\r\ndata: {}\r\r",
];

proptest! {
    #[test]
    fn a_stream_says_the_same_however_it_arrives_and_never_more_than_was_sent(stream in mutants::bytes(STREAMS), cut in 1..50_usize) {
        let (mut one, mut many) = (Events::default(), Events::default());
        let whole = one.push(&stream).unwrap();
        let parts: Vec<Event> = stream.chunks(cut).flat_map(|part| many.push(part).unwrap()).collect();
        prop_assert_eq!(&whole, &parts);
        let said = whole.iter().map(|event| event.data.len()).sum::<usize>();
        prop_assert!(said + one.line.len() + one.data.len() <= stream.len());
    }
}

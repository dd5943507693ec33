use std::sync::LazyLock;

use axum::http;
use proptest::prelude::*;

use super::*;
use crate::mutants;

const SEEDS: [&str; 5] = ["120", "0", "Sun, 22 Nov 2026 12:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "1.5"];

static OURS: LazyLock<Http> = LazyLock::new(|| Http::new("http://bao.example.com/base", None).unwrap());

#[test]
fn a_line_break_does_not_hide_the_way_up() {
    for segment in ["\r\n..", ".\t.", "..", "."] {
        assert_eq!(OURS.url(["v1", segment]).unwrap_err().failure, Failure::Misconfigured, "{segment:?}");
    }
}

proptest! {
    #[test]
    fn no_server_is_left_alone_for_ever(text in mutants::bytes(SEEDS)) {
        if let Ok(header) = header::HeaderValue::from_bytes(&text) {
            let answer = http::Response::builder().header(header::RETRY_AFTER, header).body("").unwrap();
            prop_assert!(retry_after(&answer.into()).is_none_or(|wait| wait <= LONGEST_WAIT));
        }
    }

    #[test]
    fn no_address_and_no_segment_leads_elsewhere(
        address in mutants::texts(["https://bao.example.com:8200", "https://[::1]/base/", "http://h"]),
        segment in mutants::texts(["acme--db", "..", "a/b", "%2e%2e", "?q", "#f"]),
    ) {
        if let Ok(url) = OURS.url(["v1", &segment]) {
            prop_assert!(url.as_str().starts_with("http://bao.example.com/base/v1"), "{}", url);
            prop_assert!(url.query().is_none() && url.fragment().is_none(), "{}", url);
        }
        if let Err(error) = Http::new(&address, Some("")) {
            mutants::assert_silent(&error);
        }
    }
}

//! One suite for every store: the same cases, each in a place of its own at a server that has nothing else in it.
//!
//! A case answers [`Verdict`]: it holds, or the store cannot do it, which its features must say. What was found is left
//! in the folder `SECRETREF_SUITE` (tests/stores/table.py makes the table in docs/stores.md of it).

pub mod changes;
pub mod credentials;
pub mod failures;
pub mod lists;
pub mod names;
pub mod subject;
pub mod subjects;
pub mod transport;
pub mod values;
pub mod versions;
pub mod writes;

use std::sync::Arc;

use secretref::{
    naming::{Org, Owner, StoreKey},
    secret::SecretValue,
    stores::{Payload, Property, Store, Stored, When, Write, Written},
};
pub use subject::{Fault, Subject, Who};

/// What became of a case.
pub enum Verdict {
    /// The store did what is asked of all of them.
    Holds,
    /// It cannot, and says so: why.
    CannotBe(&'static str),
}

pub use Verdict::{CannotBe, Holds};

/// The key of a name of organisation `acme`, as this store spells it.
pub fn acme(subject: &dyn Subject, name: &str) -> StoreKey {
    key(subject, Some("acme"), name)
}

/// The platform-wide key of a name.
pub fn global(subject: &dyn Subject, name: &str) -> StoreKey {
    key(subject, None, name)
}

pub fn owner(org: Option<&str>) -> Owner {
    org.map_or(Owner::Global, |org| Owner::Org(Org::new(org).unwrap()))
}

pub fn key(subject: &dyn Subject, org: Option<&str>, name: &str) -> StoreKey {
    let scheme = subject.scheme();
    scheme.key(&owner(org), &scheme.name(name).unwrap()).unwrap()
}

/// A single value.
pub fn single(value: impl Into<Vec<u8>>) -> Payload {
    Payload::Single(SecretValue::new(value.into()))
}

/// Create or update.
pub fn always(payload: Payload) -> Write {
    when(payload, When::Always)
}

pub fn when(payload: Payload, when: When) -> Write {
    Write { payload, when, content_type: None, tags: None }
}

/// What a bare name yields.
pub fn bare(stored: &Stored) -> Vec<u8> {
    match &stored.payload {
        Payload::Single(value) => value.expose().to_vec(),
        Payload::Map(map) => match map.get("value") {
            Some(Property::Text(value)) => value.expose().to_vec(),
            other => panic!("no text under `value`: {other:?}"),
        },
    }
}

/// The bare value of a key that must be there.
#[track_caller]
pub fn read(store: &dyn Store, key: &StoreKey) -> impl Future<Output = Vec<u8>> {
    let at = std::panic::Location::caller();
    async move {
        match store.get(key, None).await {
            Ok(Some(stored)) => bare(&stored),
            other => panic!("{key} at {at}: {other:?}"),
        }
    }
}

/// The version that a write gave.
pub fn version(written: Written) -> String {
    match written {
        Written::Version(version) => version,
        Written::Conflict => panic!("a conflict"),
    }
}

/// Runs one case for one store, and leaves a note of what was found.
pub async fn run<F: Future<Output = Verdict>>(
    subject: impl Subject,
    group: &str,
    case: &str,
    test: impl FnOnce(Arc<dyn Subject>) -> F,
) {
    let name = subject.name();
    let verdict = test(Arc::new(subject)).await;
    if let Ok(folder) = std::env::var("SECRETREF_SUITE") {
        let text = match verdict {
            Holds => "holds".to_owned(),
            CannotBe(why) => why.to_owned(),
        };
        let folder = format!("{folder}/{name}/{group}");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(format!("{folder}/{case}"), text).unwrap();
    }
}

/// Every case, for one store.
macro_rules! every_case {
    ($module:ident, $subject:path) => {
        mod $module {
            $crate::suite::cases!($subject;
                values: what_was_put_there_is_read, what_is_not_there_is_certainly_not, text_of_any_script,
                    lines_quotes_and_escapes, one_byte, the_largest_value, a_larger_one_is_refused, an_empty_value,
                    a_null, any_bytes, white_space_around, json_stays_text, properties, every_digit,
                    what_looks_like_a_reference, what_looks_like_base64;
                names: the_shortest, the_longest, longer_is_refused_before_any_request, digits_and_dashes,
                    organisations_that_begin_alike, the_same_name_in_both_scopes, names_that_differ_in_case,
                    folders, tricks_reach_no_other_key;
                lists: of_an_organisation, of_the_platform, by_prefix, of_nothing, of_many, read_back_as_names,
                    without_what_was_deleted, denied_while_reading_is_allowed, while_others_write;
                changes: a_mark_stays, a_write_moves_it, made_anew_it_is_another, lists_agree_with_reads,
                    lists_never_invent, lists_see_a_change, a_list_is_cheap;
                writes: create_only, only_if_the_version_is, create_or_update, two_create_at_once, two_update_at_once,
                    tags_are_kept, the_content_type_is_kept, delete, deleted_and_made_again, delete_while_reading,
                    a_reader_may_not_write, a_reader_may_not_delete;
                versions: latest_and_pinned, an_unknown_one, one_that_is_none, newest_first, restore, restore_deleted,
                    restore_an_unknown_one, of_nothing_at_all, metadata_without_a_value, metadata_of_nothing;
                failures: throttled_with_a_time, throttled_without, an_error_of_the_server, unavailable_for_a_while,
                    down_and_back, silence, an_outage_in_the_middle, overload_is_not_absence;
                transport: a_page_instead_of_an_answer, a_page_that_says_404, an_answer_cut_short, an_answer_without_end,
                    a_redirect, another_ca, a_server_whose_clock_is_wrong, requests_that_nobody_waits_for;
                credentials: wrong_ones, ones_that_end, without_any_right, one_login_for_many_reads,
                    what_a_reader_may, what_a_writer_may, a_probe_reads_no_value, back_within_one_probe;
            );
        }
    };
}
pub(crate) use every_case;

macro_rules! cases {
    ($subject:path; $($group:ident: $($case:ident),+;)+) => {
        $(
            mod $group {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $case() {
                        let subject = <$subject>::new().await;
                        let test = |s: std::sync::Arc<dyn $crate::suite::Subject>| async move { $crate::suite::$group::$case(&*s).await };
                        $crate::suite::run(subject, stringify!($group), stringify!($case), test).await;
                    }
                )+
            }
        )+
    };
}
pub(crate) use cases;

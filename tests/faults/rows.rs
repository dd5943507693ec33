//! All faults. A fault that a test elsewhere shows well is a row with that test's name.

use crate::table::Row;

macro_rules! rows {
    ($($name:ident: $($happens:literal, $reason:literal, $stays:literal, $ends:literal => $($shown:literal)+;)+)+) => {
        $(const $name: &[Row] = &[
            $(Row { happens: $happens, reason: $reason, stays: $stays, ends: $ends, shown: &[$($shown),+] }),+
        ];)+
    };
}

pub const GROUPS: &[(&str, &[Row])] = &[
    ("The operator's process", PROCESS),
    ("The leader", LEADER),
    ("The API server", API_SERVER),
    ("The store", STORE),
    ("What is in the store", CONTENT),
    ("Targets", TARGETS),
    ("Many at once", MANY),
];

pub const NOT_TRIED: &[&str] = &[
    "An outage of the store of 10 minutes in every run: it is one of a minute. With `SECRETREF_OUTAGE=600`, which held when this was written, it is one of 10.",
    "Somebody who writes to a workload faster than it can be read and patched: its restart is owed, and tried again with growing waits until they stop.",
];

rows! {
PROCESS:
    "SIGKILL while the store is read", "", "Secret, workload", "the next leader reads it: one write, one restart"
        => "process.rs::killed_while_the_store_is_read";
    "SIGKILL before the Secret is written", "", "Secret, workload", "the next leader writes it, restarts the workload once and says so in the status"
        => "process.rs::killed_before_the_secret_is_written";
    "SIGKILL after the Secret was written", "", "the Secret: no second one, no second write", "the next leader restarts the workload once and brings the status up to date"
        => "process.rs::killed_after_the_secret_was_written" "process.rs::killed_after_a_new_secret_was_written";
    "SIGKILL before or after the workload is restarted", "", "one restart for one change", "the restart that is owed stands in the Secret's stamp until the status says that it is done"
        => "process.rs::killed_before_workloads_are_listed" "process.rs::killed_before_the_workload_is_restarted" "process.rs::killed_after_the_workload_was_restarted";
    "SIGKILL before or after the restart is noted in the status", "", "one restart for one change", "the next leader finds the workload marked, and notes it"
        => "process.rs::killed_before_the_restart_is_noted" "process.rs::killed_after_the_restart_was_noted";
    "SIGKILL before or after the status is written", "", "Secret, one restart for one change", "versions and times in the status are those of the Secret"
        => "process.rs::killed_before_the_status_is_written" "process.rs::killed_after_the_status_was_written";
    "SIGKILL before or after the Event is published", "", "everything else", "the Event may be missing; it is never told twice"
        => "process.rs::killed_before_the_event_is_published" "process.rs::killed_after_the_event_was_published";
    "SIGTERM while many changes are under way", "", "what was written", "exit code 0 in time; the next leader does the rest, restarts too"
        => "process.rs::terminated_under_load";
    "Memory runs out", "", "Secret", "the process ends at once, and what is started in its place serves everybody when it is given more"
        => "machine.rs::it_runs_out_of_memory";
    "The disk is full that takes its output", "", "-", "secrets are served; audit events that could not be written are counted (`secretref_audit_events_dropped_total`, with an alert)"
        => "machine.rs::the_disk_is_full";
    "The machine's clock jumps by an hour, both ways", "", "the lead; what has not changed", "changes arrive as before, one write and one restart each"
        => "machine.rs::the_clock_jumps_by_an_hour_both_ways";
    "A restart with everything in sync", "", "everything: no write, no extra read, no restart", "each key is read when its turn comes"
        => "tests/scale/main.rs::a_thousand_references_on_fifty_keys_keep_to_the_budgets" "tests/handover/restart.rs::a_restart_costs_one_list_and_no_write";
    "The engine inside the process breaks down", "", "targets", "the process ends with an error and is started again"
        => "src/operator/run/tests.rs::an_engine_that_breaks_down_is_an_error" "src/operator/serve/tests.rs::an_engine_without_a_sign_of_life_is_unhealthy";
    "The operator is gone while a namespace is deleted", "", "nothing holds it: no finalizer", "the namespace goes"
        => "tests/takeover/main.rs::no_finalizer_of_ours_holds_a_namespace";

LEADER:
    "The leader ends well", "", "one write, restart and Event for each change", "another leads within 5 s"
        => "tests/takeover/main.rs::a_leader_that_ends_well_is_replaced_in_5_seconds_and_nothing_happens_twice";
    "The leader is killed at work", "", "one write and one restart for each change", "another leads within 20 s"
        => "tests/takeover/main.rs::a_leader_that_is_killed_at_work_is_replaced_in_20_seconds_and_nothing_happens_twice";
    "The leader is paused for longer than its Lease, and wakes up believing that it leads", "", "what the next leader wrote: the old one sends no write", "it stands by"
        => "leaders.rs::a_leader_that_was_paused_writes_nothing_when_it_wakes_up" "src/operator/events/tests.rs::nothing_is_told_by_one_that_does_not_lead";
    "A write of the old leader arrives after the next one's", "", "one restart for each change", "the leader sees that the content is not what it wrote, and writes it again"
        => "leaders.rs::a_write_that_arrives_after_the_next_leaders_is_put_right";
    "The Lease is lost in the middle of a write", "", "one restart for each change", "the old leader gives up in time, the next one writes"
        => "leaders.rs::a_lease_that_is_lost_in_the_middle_of_a_write";
    "Clocks, delays and losses of every kind between candidates", "", "at most one leads", "in calm one does"
        => "src/operator/lease/tests/simulation.rs::two_never_lead_and_in_calm_one_does";
    "A notification was taken by a replica that is killed", "", "the notification", "the leader acts on it"
        => "tests/handover/main.rs::a_notification_outlives_the_operator_that_took_it";

API_SERVER:
    "It is killed, for longer than a leader may lead without it", "", "targets", "leads again, and one write and one restart for what changed"
        => "api_server.rs::it_is_killed_and_comes_back";
    "Every request takes two seconds, as over a slow etcd", "", "the lead", "each change is one write and one restart"
        => "api_server.rs::every_request_takes_two_seconds";
    "Writes are answered with 429 and Retry-After", "TargetRejected", "Secret, workload", "written when it lets it through"
        => "api_server.rs::it_says_that_it_is_too_much" "src/operator/apply/tests.rs::what_is_to_come_back_later_comes_back_once_and_only_while_leading";
    "Writes are answered with 503 and Retry-After", "TargetRejected", "Secret, workload", "written when it lets it through"
        => "api_server.rs::it_says_that_it_cannot_now";
    "Writes are answered with 500", "TargetRejected", "Secret, workload", "written when it lets it through"
        => "api_server.rs::it_breaks_down_over_a_write";
    "Every write is refused, of the Lease and of statuses too", "", "Secret, workload; the API server is not asked more for it", "leads again, and one write and one restart for what changed"
        => "api_server.rs::it_refuses_every_write_for_a_while";
    "Every write is refused, and the store goes down meanwhile", "StoreUnavailable", "Secret", "references are told of their store when the operator leads again"
        => "api_server.rs::the_store_goes_down_while_it_refuses_every_write";
    "A write is carried out, and its answer never comes", "", "one restart for one change", "it is written once more, with the same content"
        => "api_server.rs::the_answer_to_a_write_is_lost" "src/operator/apply/tests.rs::a_write_ends_before_another_replica_may_lead";
    "It is slow to take a status, and a change is notified meanwhile", "", "-", "the reference that has to be told gets the new value, too"
        => "notices.rs::told_of_a_change_while_the_status_is_written";
    "Watches end and are too old to go on (410 Gone)", "", "targets", "a new list finds what was deleted and made meanwhile"
        => "api_server.rs::watches_are_too_old" "src/operator/watch/tests.rs::what_a_new_list_does_not_have_is_gone";
    "A watch that says nothing any more", "", "targets", "after three minutes it is opened again, and what changed is seen"
        => "api_server.rs::watches_are_silently_dead" "src/operator/run/tests.rs::a_silent_watch_is_replaced_and_its_changes_are_seen";
    "Others write to the target and to the workload ten times a second", "", "what is theirs", "each change is one write and one restart"
        => "api_server.rs::everybody_writes_at_once" "src/operator/rollout/tests.rs::a_conflict_is_looked_at_again";
    "The right to Secrets is taken away and given back", "TargetRejected", "Secret, workload", "written when it is given back"
        => "api_server.rs::rights_are_taken_away_and_given_back";
    "The definitions are not there yet when the operator starts", "", "-", "it waits for them, and begins"
        => "api_server.rs::the_definitions_come_later";
    "The definitions are applied again with a further field", "", "targets: not one write", "what is new is served"
        => "api_server.rs::the_definitions_are_applied_again";
    "An object that cannot be read", "", "its target, and all others", "it is left alone until it can be read"
        => "src/operator/watch/tests.rs::what_cannot_be_read_is_not_gone";

STORE:
    "No connection", "StoreUnavailable", "Secret, workload", "what changed meanwhile arrives"
        => "store.rs::no_connection" "tests/operator/health.rs::the_network_is_unplugged";
    "OpenBao is killed, and is back with another value", "StoreUnavailable", "Secret; `Ready` until staleAfter", "what changed meanwhile arrives"
        => "tests/operator/outages.rs::an_outage_keeps_targets_and_ends_by_itself";
    "OpenBao is sealed", "StoreUnavailable", "Secret", "somebody unseals it; the status says so"
        => "tests/operator/outages.rs::an_outage_keeps_targets_and_ends_by_itself" "tests/operator/health.rs::the_server_is_sealed" "tests/stores/vault_failures.rs::sealed_and_back";
    "A standby answers, or a server that is not initialised", "StoreUnavailable", "-", "the message says which server to name"
        => "tests/stores/strange.rs::statuses_and_bodies" "tests/stores/vault_failures.rs::not_initialised";
    "The very first probe fails", "", "-", "the status does not go on saying that the store was not probed"
        => "store.rs::the_very_first_probe_fails";
    "Requests are taken and never answered", "StoreUnavailable", "Secret, workload", "what changed meanwhile arrives"
        => "store.rs::no_answer" "tests/operator/health.rs::the_server_takes_requests_and_says_nothing";
    "Answers hang in the middle of their body", "StoreUnavailable", "Secret, workload", "what changed meanwhile arrives"
        => "store.rs::an_answer_that_hangs_in_the_middle";
    "Connections are reset in the middle of an answer", "StoreUnavailable", "Secret, workload", "what changed meanwhile arrives"
        => "store.rs::connections_that_are_reset" "tests/stores/strange.rs::bodies_have_an_end";
    "429 with Retry-After", "RateLimited", "Secret, workload", "the whole store is left alone for so long"
        => "store.rs::too_many_requests_with_a_time" "src/stores/layers/tests.rs::a_retry_after_holds_back_the_whole_store" "tests/operator/outages.rs::a_quota_of_the_store_is_obeyed_and_told";
    "429 without Retry-After", "RateLimited", "Secret, workload", "what changed meanwhile arrives"
        => "store.rs::too_many_requests_without_one";
    "500", "StoreUnavailable", "Secret, workload; nothing of the answer is shown", "what changed meanwhile arrives"
        => "store.rs::an_error_500";
    "502", "StoreUnavailable", "Secret, workload", "what changed meanwhile arrives"
        => "store.rs::an_error_502";
    "503", "StoreUnavailable", "Secret, workload", "what changed meanwhile arrives"
        => "store.rs::an_error_503";
    "401 or 403 for every request, in mid-life", "PermissionDenied", "Secret, workload", "what changed meanwhile arrives"
        => "store.rs::a_401_in_mid_life" "store.rs::a_403_in_mid_life";
    "The policy of the login is taken away", "PermissionDenied", "Secret", "the policy is given back"
        => "tests/operator/health.rs::the_role_is_taken_away" "tests/operator/outages.rs::a_forbidden_key_is_its_references_trouble_alone";
    "The token is revoked", "AuthenticationFailed", "Secret, workload", "a new one where the store looks for it is taken at once; a login that can be repeated is"
        => "store.rs::the_token_is_revoked" "tests/operator/logins.rs::a_revoked_login_is_told_everywhere_and_a_new_one_mends_everything" "tests/stores/vault_session.rs::a_revoked_token_is_replaced_at_the_next_read";
    "The token expires", "", "no read fails", "it is renewed before its end, and replaced when it cannot be renewed"
        => "tests/stores/vault_session.rs::a_short_life_is_renewed_and_then_replaced_without_a_failed_read" "tests/stores/vault_session.rs::without_upkeep_an_expired_session_is_replaced";
    "The server's certificate and its CA are replaced", "StoreUnavailable", "Secret, workload", "the new CA where the store looks for it is taken at once"
        => "store.rs::the_certificate_and_its_ca_are_replaced";
    "The server's name is not found (DNS)", "StoreUnavailable", "Secret, workload", "what changed meanwhile arrives"
        => "store.rs::its_name_is_not_found";
    "A redirect to another host", "StoreMisconfigured", "Secret, workload; the other host is not asked", "what changed meanwhile arrives"
        => "store.rs::a_redirect_to_another_host" "tests/stores/strange.rs::credentials_never_follow_a_redirect";
    "An HTML page with status 200", "StoreMisconfigured", "Secret, workload", "what changed meanwhile arrives"
        => "store.rs::a_page_with_status_200" "tests/operator/health.rs::a_login_page_stands_in_between";
    "JSON that ends in the middle", "StoreMisconfigured", "Secret, workload", "what changed meanwhile arrives"
        => "store.rs::truncated_json";
    "JSON of something else", "StoreMisconfigured", "Secret, workload", "what changed meanwhile arrives"
        => "store.rs::json_of_something_else";
    "A body without end (100 MB and more)", "StoreMisconfigured", "Secret, workload; 4 MiB are read at most", "what changed meanwhile arrives"
        => "store.rs::a_body_without_end" "tests/stores/strange.rs::bodies_have_an_end";
    "A mount or a namespace that is gone", "StoreMisconfigured", "Secret: no fallback", "it is there again"
        => "tests/operator/outages.rs::a_store_that_is_not_what_it_should_be_says_which_field";
    "A list that ends after its first page, or goes on elsewhere", "StoreUnavailable", "nothing is concluded from it", "the next list is whole"
        => "tests/stores/azure_changes.rs::a_list_has_every_page" "tests/stores/azure_changes.rs::a_list_that_goes_on_elsewhere_takes_no_token_there";
    "The server's clock is wrong by an hour, both ways", "", "no change is missed", "-"
        => "tests/stores/suite/transport.rs::a_server_whose_clock_is_wrong";
    "The same faults at every kind of store", "StoreUnavailable", "never taken for not found", "the same session goes on"
        => "tests/stores/suite/failures.rs::down_and_back" "tests/stores/suite/failures.rs::silence" "tests/stores/suite/failures.rs::throttled_with_a_time" "tests/stores/suite/transport.rs::an_answer_without_end" "tests/stores/suite/transport.rs::a_redirect";

CONTENT:
    "A secret changes between two reads of one sync", "", "all keys of a target are of one version", "the last version arrives"
        => "store.rs::a_secret_that_changes_between_two_reads_of_one_sync";
    "A secret is deleted or destroyed", "SecretNotFound", "Secret", "it is made again, or two looks find that the platform-wide one has to do"
        => "tests/operator/fallback.rs::without_a_platform_wide_value_the_last_good_one_stays" "tests/operator/fallback.rs::falling_back_takes_two_looks_one_interval_apart_and_an_event";
    "A secret is made anew with the same version number", "", "-", "its value arrives"
        => "tests/operator/refresh.rs::a_key_made_anew_with_the_same_version_arrives";
    "A value is null or empty", "SecretEmpty", "Secret", "a value is given"
        => "tests/operator/refresh.rs::null_and_the_empty_text_are_errors_that_keep_the_target";

TARGETS:
    "The target is deleted", "", "-", "it is made again at once"
        => "tests/operator/drift.rs::a_deleted_target_is_made_again";
    "The target is edited; others add labels of their own", "", "labels and annotations of others", "what is ours is put right"
        => "tests/operator/drift.rs::what_is_ours_is_put_right_and_what_is_not_stays";
    "The target is immutable", "TargetImmutable", "Secret", "somebody deletes it, and it is written anew"
        => "tests/operator/adoption.rs::an_immutable_target_cannot_follow_and_says_so";
    "The target lacks the keys of its type", "InvalidReference", "Secret", "the spec is put right"
        => "tests/operator/adoption.rs::typed_targets_have_their_keys";
    "A Secret that is to be adopted is of another type", "TargetImmutable", "their Secret", "somebody deletes it, and it is written anew"
        => "targets.rs::a_secret_of_another_type";
    "The target is somebody else's", "TargetConflict", "their Secret: not touched", "somebody decides whose it is"
        => "tests/operator/conflicts.rs::a_foreign_secret_is_not_touched";
    "Two references have one target", "TargetConflict", "the first one's Secret", "one of them is given another target"
        => "tests/operator/conflicts.rs::two_references_to_one_target_do_not_fight" "tests/operator/conflicts.rs::a_merged_key_that_someone_else_holds_is_named";
    "More than 1 MiB", "TargetRejected", "Secret", "less is asked for"
        => "tests/operator/refusals.rs::more_than_a_secret_can_hold_is_told_before_it_is_tried";
    "The namespace's quota is used up", "TargetRejected", "-", "there is room again"
        => "tests/operator/refusals.rs::a_quota_of_the_namespace_is_told_and_waited_for";
    "A policy refuses it and quotes the value", "TargetRejected", "the value is not repeated", "the policy lets it through"
        => "tests/operator/refusals.rs::a_refusal_that_quotes_the_value_is_not_repeated";
    "A property that is no valid key of a Secret is found in the store", "TargetRejected", "Secret: all or nothing", "the property is renamed in the store"
        => "targets.rs::keys_that_no_secret_takes";
    "The namespace is being deleted", "", "nothing is made in it, nothing holds it", "it goes; one of the same name begins anew"
        => "targets.rs::a_namespace_that_is_being_deleted";

MANY:
    "Broken references", "", "the store's limits: one request where healthy ones take one", "-"
        => "src/stores/layers/tests.rs::what_failed_last_time_gets_one_attempt" "src/stores/layers/retry/tests.rs::retries_take_their_share_and_no_more";
    "An outage of the store with 2,000 references on 2,000 keys", "StoreUnavailable", "all Secrets: not one write, none deleted", "the load on the returning store keeps to its limits, all are Ready within a minute"
        => "outage.rs::two_thousand_references_get_over_an_outage";
    "An outage that is over before all references were told of it", "StoreUnavailable", "all Secrets", "all are in sync again"
        => "outage.rs::it_is_back_before_all_were_told_that_it_went";
}

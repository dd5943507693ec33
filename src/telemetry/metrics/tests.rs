use super::*;

#[test]
fn the_text_is_open_metrics() {
    let m = Metrics::new();
    m.store_request("platform", "vault", "get", "success", Some(Duration::from_millis(3)));
    m.store_request("platform", "vault", "get", "circuit_open", None);
    m.store_retry("platform");
    m.cache_request("platform", true);
    m.cache_bytes(42);
    m.circuit("platform", Circuit::Open);
    m.sync(Reason::Synced, Duration::from_millis(7));
    m.oldest_unsynced(Duration::from_millis(1500));
    m.apiserver_request("patch", "Secret", "success");
    m.queue_depth("new", 3);
    m.leader(true);
    m.keys(50);
    m.poll("platform");
    m.login("platform");
    m.notification("generic", "accepted");
    assert_eq!(m.audit_dropped(), 1);
    assert_eq!(m.audit_dropped(), 2);
    let text = m.encode();
    for line in [
        r#"secretref_store_requests_total{store="platform",provider="vault",operation="get",result="success"} 1"#,
        r#"secretref_store_requests_total{store="platform",provider="vault",operation="get",result="circuit_open"} 1"#,
        r#"secretref_store_request_duration_seconds_count{store="platform",provider="vault",operation="get"} 1"#,
        r#"secretref_store_retries_total{store="platform"} 1"#,
        r#"secretref_cache_requests_total{store="platform",result="hit"} 1"#,
        "secretref_cache_bytes 42",
        r#"secretref_circuit_state{store="platform"} 2"#,
        r#"secretref_syncs_total{result="Synced"} 1"#,
        "secretref_sync_duration_seconds_count 1",
        "secretref_oldest_unsynced_seconds 1.5",
        r#"secretref_apiserver_requests_total{verb="patch",kind="Secret",result="success"} 1"#,
        r#"secretref_work_queue_depth{class="new"} 3"#,
        "secretref_leader 1",
        "secretref_keys 50",
        r#"secretref_polls_total{store="platform"} 1"#,
        r#"secretref_logins_total{store="platform"} 1"#,
        "secretref_audit_events_dropped_total 2",
        r#"secretref_notifications_total{source="generic",result="accepted"} 1"#,
        concat!("secretref_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_store_has_one_ready_series_and_none_once_gone() {
    let m = Metrics::new();
    m.store_ready("platform", "ClusterSecretStore", false, Reason::Probing);
    m.store_ready("platform", "ClusterSecretStore", true, Reason::Healthy);
    m.store_ready("acme/platform", "SecretStore", false, Reason::StoreUnavailable);
    let text = m.encode();
    assert!(!text.contains("Probing"));
    assert!(text.contains(r#"{store="platform",kind="ClusterSecretStore",reason="Healthy"} 1"#));
    assert!(text.contains(r#"{store="acme/platform",kind="SecretStore",reason="StoreUnavailable"} 0"#));

    m.store_request("platform", "vault", "list", "denied", Some(Duration::ZERO));
    m.cache_request("platform", false);
    m.store_retry("platform");
    m.circuit("platform", Circuit::Closed);
    m.poll("platform");
    m.login("platform");
    m.forget_store("platform", "ClusterSecretStore", "vault");
    let text = m.encode();
    assert!(!text.contains(r#"store="platform""#), "{text}");
    assert!(text.contains(r#"store="acme/platform""#));
}

#[test]
fn references_are_replaced_as_a_whole() {
    let m = Metrics::new();
    m.references(&BTreeMap::from([((true, Reason::Synced), 5), ((false, Reason::SecretNotFound), 2)]));
    m.references(&BTreeMap::from([((true, Reason::Synced), 7)]));
    let text = m.encode();
    assert!(text.contains(r#"secretref_references{state="ready",reason="Synced"} 7"#));
    assert!(!text.contains("SecretNotFound"));
}

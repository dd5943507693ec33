use super::*;

/// Each family has a sample.
fn filled() -> Metrics {
    let m = Metrics::new();
    m.store_request("platform", "vault", "get", "success", Some(Duration::from_millis(3)));
    m.store_request("platform", "vault", "get", "circuit_open", None);
    m.store_retry("platform");
    m.cache_request("platform", true);
    m.cache_bytes(42);
    m.circuit("platform", Circuit::Open);
    m.sync(Reason::Synced, Duration::from_millis(7), Duration::from_secs(2));
    m.oldest_unsynced(Duration::from_millis(1500));
    m.apiserver_request("patch", "Secret", "success");
    m.queue_depth("new", 3);
    m.leader(true);
    m.keys(50);
    m.poll("platform");
    m.login("platform");
    m.notification("generic", "accepted");
    m.store_ready("platform", "ClusterSecretStore", true, Reason::Healthy);
    m.references(&BTreeMap::from([((true, Reason::Synced), 5)]));
    assert_eq!(m.audit_dropped(), 1);
    assert_eq!(m.audit_dropped(), 2);
    m
}

#[test]
fn the_text_is_open_metrics() {
    let text = filled().encode();
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
        "secretref_sync_lag_seconds_sum 2.0",
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

/// Two replicas that both said how stores and references are would be counted twice, and the one would be out of date.
#[test]
fn a_standby_says_nothing_that_only_a_leader_knows() {
    let m = Metrics::new();
    m.store_ready("platform", "ClusterSecretStore", false, Reason::StoreUnavailable);
    m.references(&BTreeMap::from([((false, Reason::StoreUnavailable), 5)]));
    m.circuit("platform", Circuit::Open);
    m.oldest_unsynced(Duration::from_secs(90));
    m.queue_depth("new", 3);
    m.keys(4);
    m.store_request("platform", "vault", "get", "success", None);
    m.stand_by(["new"]);
    let text = m.encode();
    for gone in ["StoreUnavailable", "secretref_circuit_state{"] {
        assert!(!text.contains(gone), "{gone} in {text}");
    }
    for zero in
        ["secretref_oldest_unsynced_seconds 0.0", "secretref_keys 0", r#"secretref_work_queue_depth{class="new"} 0"#]
    {
        assert!(text.lines().any(|l| l == zero), "{zero} is not in {text}");
    }
    assert!(text.contains(r#"result="success"} 1"#), "what it did is not undone");
    m.store_ready("platform", "ClusterSecretStore", true, Reason::Healthy);
    assert!(m.encode().contains(r#"reason="Healthy"} 1"#), "it may lead again");
}

#[test]
fn the_documentation_names_every_metric() {
    let text = filled().encode();
    let page = include_str!("../../../docs/observability.md");
    for line in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        assert!(page.contains(&format!("| `{name}{suffix}` |")), "docs/observability.md does not name {name}{suffix}");
    }
}

/// A panel or an alert on a metric that is not there would be empty, or never fire, and nobody would notice.
#[test]
fn alerts_and_dashboard_stand_on_metrics_that_are_there() {
    let text = filled().encode();
    let there =
        |name: &str| text.lines().any(|l| l.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    let words = |text: &'static str| text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    for (file, text, at_least) in [
        ("alerts.yaml", include_str!("../../../charts/secretref/files/alerts.yaml"), 9),
        ("dashboard.json", include_str!("../../../charts/secretref/files/dashboard.json"), 15),
    ] {
        let mut used: Vec<&str> = words(text).filter(|w| w.starts_with("secretref_")).collect();
        used.sort_unstable();
        used.dedup();
        assert!(used.len() >= at_least, "{file}: {used:?}");
        for name in used {
            assert!(there(name), "{file} speaks of {name}, which is not in /metrics");
        }
    }
}

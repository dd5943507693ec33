use super::*;

fn reply(status: u16, body: &str) -> Reply {
    let status = StatusCode::from_u16(status).unwrap();
    Reply { status, retry_after: None, headers: Default::default(), body: Zeroizing::new(body.as_bytes().to_vec()) }
}

fn problem(status: u16, error: &str, message: &str) -> Reply {
    reply(status, &serde_json::json!({ "statusCode": status, "message": message, "error": error }).to_string())
}

#[test]
fn only_the_asked_for_name_or_folder_is_missing() {
    let missing = |error: &str, message: &str| super::missing(&problem(404, error, message), "/acme", "DB_URL");
    for (error, message) in [
        ("NotFound", "Secret with name 'DB_URL' not found"),
        ("DeleteSecret", "Secret with name 'DB_URL' not found"),
        ("NotFound", "Secret with name DB_URL not found"),
    ] {
        assert_eq!(missing(error, message), Missing::Secret, "{message}");
    }
    for error in ["GetSecretByName", "CreateSecret"] {
        let message = "Folder with path '/acme' in environment with slug 'dev' not found";
        assert_eq!(missing(error, message), Missing::Folder);
    }
    for message in [
        "Secret with name 'DB_URL_2' not found",
        "Secret with name 'OTHER' not found",
        "Folder with path '/acme/x' in environment with slug 'dev' not found",
        "Folder with path '/' in environment with slug 'dev' not found",
        "Project with ID 'x' not found during bot lookup. Are you sure you are using the correct project ID?",
        "Environment with slug 'dev' not found",
        "Route GET:/api/v4/secrets/DB_URL not found",
        "The requested entity is not found",
    ] {
        assert_eq!(missing("NotFound", message), Missing::Other, "{message}");
    }
    for body in ["", "<html>Secret with name 'DB_URL' not found</html>", "[]", "{}"] {
        assert_eq!(super::missing(&reply(404, body), "/acme", "DB_URL"), Missing::Other, "{body}");
    }
}

#[test]
fn not_every_401_is_about_the_token() {
    assert!(token_refused(&problem(401, "UnauthorizedError", "No identity access token found")));
    assert!(token_refused(&problem(401, "UnauthorizedError", "Token missing")));
    assert!(token_refused(&problem(403, "TokenError", "Your token has expired. Please re-authenticate.")));
    let uses = "Unable to renew because access token number of uses limit reached";
    assert!(token_refused(&problem(400, "BadRequest", uses)));
    let form = r#"{"statusCode":401,"message":[{"code":"invalid_type","path":["x"]}],"error":"ValidationFailure"}"#;
    assert!(!token_refused(&reply(401, form)));
    assert_eq!(refusal(&reply(401, form), &"reading a", "").failure, Failure::Misconfigured);
    assert!(!token_refused(&problem(403, "PermissionDenied", "You are not allowed to read on secrets")));
    assert!(!token_refused(&reply(401, "<html>log in</html>")));
}

#[test]
fn own_values_come_before_imports_and_later_imports_before_earlier_ones() {
    let body = r#"{"secrets":[{"secretKey":"A","version":1,"secretValue":"own"}],"imports":[
        {"secrets":[{"secretKey":"A","version":2,"secretValue":"one"},{"secretKey":"B","version":3,"secretValue":"one"}]},
        {"secrets":[{"secretKey":"B","version":4,"secretValue":"two"},{"secretKey":"C","version":5,"secretValue":"x","secretValueHidden":true}]}]}"#;
    let reply = reply(200, body);
    let listed: Listed<'_> = borrowed(&reply, &"").unwrap();
    assert!(listed.has_imports());
    let merged = listed.merged();
    let value = |name: &str| merged[name].value().and_then(|v| v.expose_str().map(str::to_owned));
    assert_eq!((value("A").as_deref(), value("B").as_deref(), value("C")), (Some("own"), Some("two"), None));
}

#[test]
fn bodies_are_written_without_moving() {
    let text = "\u{1}\"é\n".repeat(100);
    let body = json(&[("secretValue", &text), ("environment", "dev")]);
    let back: BTreeMap<String, String> = serde_json::from_slice(&body).unwrap();
    assert_eq!((back["secretValue"].as_str(), back["environment"].as_str()), (text.as_str(), "dev"));
    assert!(
        body.len() <= body.capacity() && body.capacity() == "secretValueenvironment".len() + 6 * (text.len() + 3) + 16
    );
}

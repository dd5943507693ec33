//! What may be shown of a refusal. Its text may quote the object, and the object holds values: admission webhooks and
//! policies say what they like, and validation repeats what it does not take, escaped or cut. So nothing of the text
//! goes through but what the API server itself composes, and only in forms that are known to hold none of the object.

use kube::core::Status;

/// What the API server calls its reasons. A webhook may send any text in their place.
const REASONS: [&str; 19] = [
    "AlreadyExists",
    "BadRequest",
    "Conflict",
    "Expired",
    "Forbidden",
    "Gone",
    "InternalError",
    "Invalid",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotFound",
    "RequestEntityTooLarge",
    "ServerTimeout",
    "ServiceUnavailable",
    "StoreReadError",
    "Timeout",
    "TooManyRequests",
    "Unauthorized",
    "UnsupportedMediaType",
];

/// The code, and the reason if it is one of the API server's own.
pub fn code(status: &Status) -> String {
    match REASONS.iter().find(|r| **r == status.reason) {
        Some(reason) => format!("{} {reason}", status.code),
        None => status.code.to_string(),
    }
}

/// All that may be shown.
pub fn shown(status: &Status) -> String {
    let code = code(status);
    if let Some(who) = by_admission(status) {
        return format!("{code}: {who} refused it; what it said is not shown, since it may quote a value");
    }
    if let Some(text) = own_words(status) {
        return format!("{code}: {text}");
    }
    let causes = status.details.iter().flat_map(|d| &d.causes);
    let mut fields: Vec<String> =
        causes.filter_map(|c| Some(format!("{} {}", field(&c.field)?, verdict(&c.reason)))).take(8).collect();
    fields.dedup();
    if fields.is_empty() { code } else { format!("{code}: {}", fields.join(", ")) }
}

/// The admission policy or webhook that refused, if one did.
pub fn by_admission(status: &Status) -> Option<String> {
    let named = |kind: &str, text: &str, quote: char| {
        let name = text.split(quote).next().filter(|n| is_name(n));
        name.map_or_else(|| format!("an admission {kind}"), |n| format!("the admission {kind} {n}"))
    };
    let message = status.message.as_str();
    for start in ["admission webhook \"", "Internal error occurred: failed calling webhook \""] {
        if let Some(rest) = message.strip_prefix(start) {
            return Some(named("webhook", rest, '"'));
        }
    }
    let rest = forbidden(message).unwrap_or(message);
    for start in ["ValidatingAdmissionPolicy '", "MutatingAdmissionPolicy '", "policy '"] {
        if let Some(rest) = rest.strip_prefix(start) {
            return Some(named("policy", rest, '\''));
        }
    }
    None
}

/// A field's path, if it looks like one of a Secret.
pub fn field(path: &str) -> Option<&str> {
    let path = path.trim_start_matches('.');
    let root = path.split(['.', '[']).next().unwrap_or_default();
    let known = ["metadata", "data", "stringData", "type", "immutable"].contains(&root);
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/[]".contains(&b));
    (known && plain && path.len() <= 300).then_some(path)
}

/// The texts that the API server makes without looking at the object's content.
fn own_words(status: &Status) -> Option<String> {
    let message = status.message.as_str();
    if status.code == 413 || message.starts_with("etcdserver: request is too large") {
        return Some("the request is too large".to_owned());
    }
    let rest = forbidden(message)?;
    if rest.starts_with("unable to create new content in namespace ") && rest.contains("is being terminated") {
        return Some("the namespace is being terminated".to_owned());
    }
    let plain = |text: &str| {
        text.len() <= 400 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b" \"-_.,:;=/@".contains(&b))
    };
    if rest.starts_with("exceeded quota: ") && plain(rest) {
        return Some(rest.to_owned());
    }
    if rest.starts_with("User \"") && rest.contains(" cannot ") {
        // An authorizer may add why: that is its text.
        let scope = " in the namespace \"";
        let (before, after) = rest.split_once(scope)?;
        let (namespace, _) = after.split_once('"')?;
        let said = format!("{before}{scope}{namespace}\"");
        return plain(&said).then_some(said);
    }
    None
}

/// What follows `secrets "NAME" is forbidden: `.
fn forbidden(message: &str) -> Option<&str> {
    let (object, rest) = message.split_once(" is forbidden: ")?;
    let name = object.strip_prefix("secrets")?;
    let named = name.is_empty() || name.strip_prefix(" \"").and_then(|n| n.strip_suffix('"')).is_some_and(is_name);
    named.then_some(rest)
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-' || b == b':';
    !text.is_empty() && text.len() <= 253 && text.bytes().all(plain)
}

fn verdict(reason: &str) -> &'static str {
    match reason {
        "FieldValueTooLong" => "is too long",
        "FieldValueTooMany" => "has too many entries",
        "FieldValueRequired" => "is missing",
        "FieldValueDuplicate" => "is there twice",
        "FieldValueForbidden" => "may not be set so",
        "FieldValueNotSupported" => "has a value that is not supported",
        "FieldManagerConflict" => "is held by someone else",
        _ => "is not valid",
    }
}

#[cfg(test)]
mod fuzz;

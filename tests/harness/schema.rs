//! The schema of audit events.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

/// docs/audit-event.schema.json
pub static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(include_str!("../../docs/audit-event.schema.json")).unwrap();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
});

/// Every line is an event as the schema has it. The last one may still be being written.
#[track_caller]
pub fn assert_schema(lines: &str) {
    let whole = lines.rfind('\n').map_or("", |end| &lines[..end]);
    for line in whole.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let errors: Vec<String> = SCHEMA.iter_errors(&event).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{line}\n{}", errors.join("\n"));
    }
}

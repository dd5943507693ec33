use proptest::{prelude::*, sample::select};
use serde_json::json;

use super::*;
use crate::mutants;

/// Where the API server and its plugins repeat what they were sent.
const FORMS: [&str; 10] = [
    "admission webhook \"no.example.io\" denied the request: VALUE",
    "Internal error occurred: failed calling webhook \"VALUE\": x",
    "secrets \"payments\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: VALUE",
    "ValidatingAdmissionPolicy 'VALUE' denied request",
    "secrets \"payments\" is forbidden: exceeded quota: VALUE",
    "secrets \"VALUE\" is forbidden: exceeded quota: few",
    "Secret \"payments\" is invalid: data[KEY]: Invalid value: \"VALUE\": no",
    "secrets \"payments\" is forbidden: User \"u\" cannot patch resource \"secrets\" in the namespace \"acme\": VALUE",
    "failed to create typed patch object: .data.A: got VALUE",
    "VALUE",
];
const REASONS_SENT: [&str; 4] = ["Forbidden", "Invalid", "VALUE", "TooManyRequests"];

proptest! {
    /// A value is told from a name by what no name holds; wherever one is repeated, it is not shown.
    #[test]
    fn nothing_that_was_sent_is_shown(
        (form, reason, field) in (select(&FORMS[..]), select(&REASONS_SENT[..]), select(vec!["data[KEY]", "data[VALUE]", "VALUE", "metadata.annotations"])),
        code in 400..600_u16,
        tail in "[\\PC]{0,20}",
        steps in mutants::bytes([r#"{"code":422,"reason":"Invalid","message":"m","details":{"causes":[{"reason":"FieldValueInvalid","field":"data","message":"Invalid value: \"canary-<1>\""}],"retryAfterSeconds":1}}"#]),
    ) {
        let value = format!("{}<{tail}>", mutants::CANARY);
        let put = |text: &str| text.replace("VALUE", &value);
        let status = json!({
            "code": code, "reason": put(reason), "message": put(form),
            "details": { "causes": [{ "reason": put(reason), "field": put(field), "message": put("VALUE") }] },
        });
        let shown = super::shown(&serde_json::from_value(status).unwrap());
        prop_assert!(!shown.contains(mutants::CANARY) && shown.len() < 1000, "{}", shown);
        // What is no Status at all, or an odd one, is shown in bounds.
        if let Ok(status) = serde_json::from_slice::<Status>(&steps) {
            prop_assert!(super::shown(&status).len() < 4000);
            prop_assert!(!super::shown(&status).contains(mutants::CANARY) || status.message.contains("is forbidden"));
        }
    }
}

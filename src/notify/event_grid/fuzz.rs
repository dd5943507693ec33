use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::mutants;

const VAULT: &str = "https://platform-kv.vault.azure.net/";
const DELIVERIES: [&str; 3] = [
    r#"[{"id":"00eccf70","topic":"t","subject":"acme--a","eventType":"Microsoft.KeyVault.SecretNewVersionCreated","eventTime":"2019-07-25T01:08:33.1036736Z","data":{"Id":"https://platform-kv.vault.azure.net/secrets/acme--a/ee05","VaultName":"platform-kv","ObjectType":"Secret","ObjectName":"acme--a","Version":"ee05","NBF":"1","EXP":"2"},"dataVersion":"1"}]"#,
    r#"{"id":"1","source":"s","subject":"b","type":"Microsoft.KeyVault.SecretNewVersionCreated","specversion":"1.0","data":{"Id":"https://platform-kv.vault.azure.net/secrets/b/1","VaultName":"platform-kv","ObjectName":"b"}}"#,
    r#"[{"id":"1","data":{"validationCode":"512d38b6"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}]"#,
];

proptest! {
    /// What is told are keys of this vault that the delivery names; what is given back is the code that it holds.
    #[test]
    fn a_delivery_says_what_it_holds_or_is_malformed(body in mutants::bytes(DELIVERIES)) {
        let Ok(said) = parse(&body, VAULT) else { return Ok(()) };
        let Some(text) = mutants::said(&body).map(|said| said.to_string()) else { return Ok(()) };
        match said {
            Delivery::Changed(changed) => {
                prop_assert!(changed.len() <= MAX_EVENTS);
                for one in changed {
                    let Changed::Key(name) = one else { panic!("{one:?}") };
                    prop_assert!(!name.is_empty() && text.contains(&Value::from(&*name).to_string()));
                }
            }
            Delivery::Validate(code) => prop_assert!(code.len() <= 256 && text.contains(&Value::from(code).to_string())),
        }
    }

    #[test]
    fn a_delivery_that_is_cut_is_malformed(body in mutants::cut(DELIVERIES)) {
        prop_assert_eq!(parse(body.as_bytes(), VAULT), Err(Malformed));
    }
}

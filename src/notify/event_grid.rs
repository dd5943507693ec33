//! Azure Event Grid: events of a Key Vault, in Event Grid's own schema or as CloudEvents 1.0, one or many. Event Grid
//! signs nothing; the request proves itself by a key in a header or in the query.

use serde::Deserialize;

use super::{Changed, Malformed, key};

/// A new version: the one event that changes what is read.
const NEW_VERSION: &str = "Microsoft.KeyVault.SecretNewVersionCreated";
/// Asks whether somebody here wants events.
const VALIDATION: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";
/// The most events in one delivery; Event Grid sends fewer.
const MAX_EVENTS: usize = 5000;

/// What a delivery says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// These keys changed.
    Changed(Vec<Changed>),
    /// It wants this code back.
    Validate(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Many(Vec<Event>),
    One(Box<Event>),
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "eventType", alias = "type")]
    kind: String,
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    #[serde(default, alias = "id")]
    id: Option<String>,
    #[serde(default, alias = "vaultName")]
    vault_name: Option<String>,
    #[serde(default, alias = "objectName")]
    object_name: Option<String>,
    #[serde(default, rename = "validationCode")]
    validation_code: Option<String>,
}

/// What a body says of the vault at `vault_url`.
///
/// # Errors
/// When it is no such body.
pub fn parse(body: &[u8], vault_url: &str) -> Result<Delivery, Malformed> {
    let events = match serde_json::from_slice(body).map_err(|_| Malformed)? {
        Body::Many(events) => events,
        Body::One(event) => vec![*event],
    };
    if events.is_empty() || events.len() > MAX_EVENTS {
        return Err(Malformed);
    }
    if let Some(validation) = events.iter().find(|e| e.kind == VALIDATION) {
        let code = validation.data.validation_code.clone().filter(|c| !c.is_empty() && c.len() <= 256);
        return code.map(Delivery::Validate).ok_or(Malformed);
    }
    let host = host(vault_url);
    let ours = events.iter().filter(|e| e.kind == NEW_VERSION && e.data.is_of(host));
    Ok(Delivery::Changed(ours.filter_map(|e| key(e.data.object_name.as_deref()?)).collect()))
}

impl Data {
    fn is_of(&self, vault: &str) -> bool {
        let first = vault.split('.').next().unwrap_or_default();
        let named = self.vault_name.as_deref().is_some_and(|name| !name.is_empty() && name.eq_ignore_ascii_case(first));
        named && self.id.as_deref().is_none_or(|id| host(id).eq_ignore_ascii_case(vault))
    }
}

fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', ':', '?']).next().unwrap_or_default()
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    const VAULT: &str = "https://platform-kv.vault.azure.net/";

    /// As Microsoft documents it.
    fn grid(kind: &str, vault: &str, name: &str) -> String {
        serde_json::json!({
            "id": "00eccf70-95a7-4e7c-8299-2eb17ee9ad64",
            "topic": "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/platform-kv",
            "subject": name,
            "eventType": kind,
            "eventTime": "2019-07-25T01:08:33.1036736Z",
            "data": {
                "Id": format!("https://{vault}.vault.azure.net/secrets/{name}/ee059b2bb5bc48398a53b168c6cdcb10"),
                "VaultName": vault, "ObjectType": "Secret", "ObjectName": name,
                "Version": "ee059b2bb5bc48398a53b168c6cdcb10", "NBF": "1559081980", "EXP": "1559082102",
            },
            "dataVersion": "1", "metadataVersion": "1",
        })
        .to_string()
    }

    fn cloud(vault: &str, name: &str) -> String {
        serde_json::json!({
            "id": "1", "source": "/subscriptions/s", "subject": name, "type": NEW_VERSION, "specversion": "1.0",
            "time": "2019-07-25T01:08:33.1036736Z",
            "data": { "Id": format!("https://{vault}.vault.azure.net/secrets/{name}/1"), "VaultName": vault, "ObjectName": name },
        })
        .to_string()
    }

    fn said(body: &str) -> Result<Delivery, Malformed> {
        parse(body.as_bytes(), VAULT)
    }

    fn keys(names: &[&str]) -> Result<Delivery, Malformed> {
        Ok(Delivery::Changed(names.iter().map(|n| Changed::Key((*n).into())).collect()))
    }

    #[test]
    fn new_versions_of_this_vault_in_either_schema() {
        let one = grid(NEW_VERSION, "platform-kv", "acme--a");
        let other = grid(NEW_VERSION, "another-kv", "acme--b");
        let expiring = grid("Microsoft.KeyVault.SecretNearExpiry", "platform-kv", "acme--c");
        assert_eq!(said(&format!("[{one},{other},{expiring}]")), keys(&["acme--a"]));
        assert_eq!(said(&format!("[{}]", grid(NEW_VERSION, "PLATFORM-KV", "GLOBAL--a"))), keys(&["GLOBAL--a"]));
        assert_eq!(said(&cloud("platform-kv", "acme--a")), keys(&["acme--a"]));
        assert_eq!(said(&format!("[{},{}]", cloud("platform-kv", "a"), cloud("another-kv", "b"))), keys(&["a"]));
        assert_eq!(said(&cloud("another-kv", "acme--a")), keys(&[]));
    }

    #[test]
    fn a_vault_of_the_same_name_in_another_cloud_is_another_vault() {
        let event = cloud("platform-kv", "acme--a").replace("vault.azure.net", "vault.azure.cn");
        assert_eq!(said(&event), keys(&[]));
        assert_eq!(parse(event.as_bytes(), "https://platform-kv.vault.azure.cn"), keys(&["acme--a"]));
    }

    #[test]
    fn the_handshake_gives_the_code_back() {
        let event = r#"[{"id":"1","topic":"t","subject":"","data":{"validationCode":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6",
            "validationUrl":"https://rp-eastus2.eventgrid.azure.net/x"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime":"2018-01-25T22:12:19.4556811Z","metadataVersion":"1","dataVersion":"1"}]"#;
        assert_eq!(said(event), Ok(Delivery::Validate("512d38b6-c7b8-40c8-89fe-f46f9e9622b6".into())));
        let without = r#"[{"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{}}]"#;
        assert_eq!(said(without), Err(Malformed));
    }

    #[test]
    fn what_is_no_event_is_malformed() {
        for bad in ["", "{}", "[]", "null", "[1]", r#"{"type":1}"#, r#"[{"eventType":"x"},{}]"#] {
            assert_eq!(said(bad), Err(Malformed), "{bad}");
        }
    }
}

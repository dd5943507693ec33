use proptest::prelude::*;
use reqwest::StatusCode;
use zeroize::Zeroizing;

use super::*;
use crate::mutants;

const GRANTS: [&str; 4] = [
    r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"canary-eyJ0eXAi"}"#,
    r#"{"token_type":"Bearer","expires_in":9223372036854775807,"access_token":"canary-eyJ0eXAi"}"#,
    r#"{"token_type":"Bearer","expires_in":-9223372036854775808,"access_token":"canary-eyJ0eXAi"}"#,
    r#"{"access_token":"canary-eyJ0eXAi","client_id":"c","expires_in":"86400","expires_on":"1795334414","not_before":"1","resource":"https://vault.azure.net","token_type":"Bearer"}"#,
];

/// An authority of a few bytes.
struct Says {
    body: Vec<u8>,
    told: Told,
}

impl fmt::Debug for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Says")
    }
}

#[async_trait]
impl Policy for Says {
    async fn send(&self, _: &Context, _: &mut Request, _: &[Arc<dyn Policy>]) -> PolicyResult {
        let body = Zeroizing::new(self.body.clone());
        answer(&self.told, Reply { status: StatusCode::OK, retry_after: None, headers: Default::default(), body })
    }
}

/// Logs in at an authority that answers so, by a client secret or as a machine.
fn login(body: &[u8], machine: bool) -> Result<AccessToken, String> {
    let way = if machine { refused::Way::Machine } else { refused::Way::Federated };
    let told = Told { way, authority: "https://login.microsoftonline.com".to_owned(), claims: None };
    let says = Transport::with_policy(Arc::new(Says { body: body.to_vec(), told: told.clone() }));
    let options = ClientOptions { transport: Some(says), retry: RetryOptions::none(), ..ClientOptions::default() };
    let credential: Arc<dyn TokenCredential> = if machine {
        let options = ManagedIdentityCredentialOptions { user_assigned_id: None, client_options: options };
        ManagedIdentityCredential::new(Some(options)).unwrap()
    } else {
        let options = ClientSecretCredentialOptions { client_options: options };
        ClientSecretCredential::new("tenant", "client".to_owned(), Secret::new("canary-secret"), Some(options)).unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(credential.get_token(&["https://vault.azure.net/.default"], None)).map_err(|error| {
        let error = found::<StoreError>(&error).cloned().unwrap_or_else(|| told.senseless());
        mutants::assert_silent(&error);
        error.to_string()
    })
}

#[test]
fn a_lifetime_beyond_every_clock_is_refused() {
    assert!(login(GRANTS[0].as_bytes(), false).is_ok() && login(GRANTS[3].as_bytes(), true).is_ok());
    for grant in [GRANTS[1], GRANTS[2], r#"{"expires_in":1}"#, r#"{"expires_in":1,"access_token":""}"#] {
        assert!(login(grant.as_bytes(), false).unwrap_err().contains("makes no sense"), "{grant}");
    }
}

proptest! {
    #[test]
    fn a_login_gives_a_token_or_a_sentence(body in mutants::bytes(GRANTS), machine: bool) {
        if let Ok(token) = login(&body, machine) {
            assert!(!token.token.secret().is_empty());
            assert!(!format!("{token:?}").contains(mutants::CANARY));
        }
    }

    #[test]
    fn a_grant_that_is_cut_is_refused(body in mutants::cut(GRANTS), machine: bool) {
        assert!(login(body.as_bytes(), machine).is_err());
    }
}

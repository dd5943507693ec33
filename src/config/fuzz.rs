use proptest::prelude::*;

use super::*;
use crate::mutants;

const FILES: [&str; 2] = [
    "[stores.platform]\nlayout = \"Path\"\nlimits = { requestsPerSecond = 10, timeout = \"3s\" }\ncache = { ttl = \"1h\" }\n[stores.platform.provider.vault]\naddress = \"https://canary-1.example.com:8200\"\nauth.appRole = { roleId = \"canary-2\", secretId.secretRef = { name = \"env\", key = \"canary-3\" } }\n",
    "[stores.a.provider.infisical]\nhostUrl = \"https://x\"\nprojectId = \"canary-4\"\nenvironment = 'dev'\nauth = { }\n[stores.b.provider]\nkubernetes = { namespace = \"\"\"canary-5\"\"\" }\n",
];
/// What the stores' own tools read.
const VARIABLES: [&str; 16] = [
    "VAULT_ENABLED",
    "VAULT_ADDR",
    "VAULT_TOKEN",
    "VAULT_MOUNT",
    "VAULT_NAMESPACE",
    "VAULT_CACERT",
    "AZURE_KEY_VAULT_URL",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "INFISICAL_PROJECT_ID",
    "INFISICAL_ENVIRONMENT",
    "INFISICAL_CLIENT_ID",
    "INFISICAL_CLIENT_SECRET",
    "INFISICAL_API_URL",
];

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("secretref.toml"), text)
}

#[test]
fn a_value_that_says_what_was_expected_is_not_repeated() {
    for text in
        ["stores = \"x expected canary-1\"", "[stores.a.provider.vault]\naddress = 1\nauth = \"expected canary-1\""]
    {
        mutants::assert_silent(&parse(text).unwrap_err());
    }
}

proptest! {
    #[test]
    fn a_file_is_read_or_its_line_is_named(text in mutants::texts(FILES)) {
        match parse(&text) {
            Ok(config) => {
                for (name, spec) in &config.stores {
                    assert!(text.contains(&name[..1.min(name.len())]) || name.len() <= text.len());
                    let settings = crate::stores::settings::settings(&spec.provider, spec.cache.as_ref(), spec.limits.as_ref(), spec.health_check_interval.as_ref());
                    assert!(std::time::Instant::now().checked_add(settings.timeout.max(settings.cache_ttl) * 2).is_some());
                }
            }
            // Names of fields and stores are told.
            Err(ConfigError::Unknown { .. } | ConfigError::Provider { .. }) => {}
            Err(error) => {
                if let ConfigError::Syntax { line, .. } = &error {
                    assert!(*line >= 1 && *line <= text.matches('\n').count() + 1);
                }
                // What the file says of a field that is missing is its name, which the schema has.
                mutants::assert_silent(&error);
            }
        }
    }

    #[test]
    fn an_environment_names_stores_or_what_is_missing(
        variables in prop::collection::vec((prop::sample::select(&VARIABLES[..]), mutants::texts(["canary-1", "https://bao:8200", "false"])), 0..10),
    ) {
        let environment: Environment = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert!(!format!("{environment:?}").contains(mutants::CANARY));
        match Config::load(None, Path::new("/"), &environment) {
            Ok(config) => assert!(config.stores.len() <= 3),
            Err(error) => mutants::assert_silent(&error),
        }
    }
}

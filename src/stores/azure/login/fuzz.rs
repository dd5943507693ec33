use proptest::prelude::*;

use super::*;
use crate::mutants;

proptest! {
    /// Whatever a vault's challenge asks for, a token goes to Key Vaults and to what the vault is part of, and nowhere else.
    #[test]
    fn a_challenge_gets_tokens_for_this_vault_only(
        scope in mutants::texts(["https://vault.azure.net/.default", "https://vault.lab.example/.default", "https://management.azure.com/.default"]),
        host in mutants::texts(["kv.vault.azure.net", "kv.vault.lab.example", "10.0.0.1", "[::1]"]),
    ) {
        if is_ours(&scope, &host) {
            let resource = scope.strip_prefix("https://").and_then(|rest| rest.strip_suffix("/.default")).unwrap();
            assert!(SERVICES.contains(&resource) || host == resource || host.ends_with(&format!(".{resource}")));
        }
        let _ = Login::is_known_cloud(&host);
    }
}

//! Store objects: each generation has a keeper, a session, a cache and table entries of its own.

use super::{Engine, StoreState};
use crate::{
    api::Reason,
    operator::{
        conclude::Health,
        keeper::{StoreObject, keep},
        model::{ObjectKey, StoreName},
        queue::Class,
        watch::Seen,
    },
    resolve::Problem,
    stores::settings::provider_name,
};

impl Engine {
    pub(super) fn store(&mut self, seen: Seen<StoreName, Box<StoreObject>>) {
        match seen {
            Seen::Listed => self.listed += 1,
            Seen::Unreadable(_) => {}
            Seen::Deleted(name, _) => {
                self.cycles_stale = true;
                self.parts.directory.remove(&name.label());
                if let Some(mut state) = self.stores.remove(&name) {
                    state.close();
                    self.parts.metrics.forget_store(&name.label(), name.kind(), provider_name(&state.object.provider));
                    self.table.forget_store(&state.object.uid);
                    self.parts.cache.forget(&state.object.uid);
                }
                for key in self.references_of(&name) {
                    self.enqueue(&key, Class::Rest);
                }
            }
            Seen::Applied(name, object) => {
                let known = self.stores.get_mut(&name);
                let changed = known.is_some();
                match known {
                    Some(state) if state.object.uid == object.uid && state.object.generation == object.generation => {
                        if object.version >= state.object.version {
                            state.object.status = object.status;
                            state.object.version = object.version;
                        }
                        return;
                    }
                    Some(state) => {
                        state.close();
                        self.table.forget_store(&state.object.uid);
                        self.parts.cache.forget(&state.object.uid);
                    }
                    None => {}
                }
                self.parts.directory.put(name.label(), &object.uid, &object.provider);
                self.stores.insert(name.clone(), StoreState { changed, ..StoreState::new(*object) });
                self.cycles_stale = true;
                if self.started {
                    self.open_store(&name);
                }
            }
        }
    }

    /// Who names a store.
    pub(super) fn references_of(&self, store: &StoreName) -> Vec<ObjectKey> {
        let Some(namespace) = &store.namespace else {
            return self.references.values().filter(|t| t.model.store == *store).map(|t| t.model.key.clone()).collect();
        };
        // A tenant's are in its namespace: whatever it does with its stores costs no look at those of others.
        let theirs = self.by_namespace.get(namespace).into_iter().flatten();
        theirs.filter(|key| self.references.get(key).is_some_and(|t| t.model.store == *store)).cloned().collect()
    }

    pub(super) fn open_store(&mut self, name: &StoreName) {
        let refused = self.tenant_store_refused(name);
        let Some(state) = self.stores.get_mut(name) else { return };
        if let Some(problem) = refused {
            state.health = Health { ready: Some(false), reason: problem.reason, message: problem.message.clone() };
            state.mirror = super::health::mirrored(name, &state.health);
            state.blocked = Some(problem);
            self.settle_store(name);
            self.write_store_status(name);
            return;
        }
        let keeper = tokio::spawn(keep(self.parts.household.clone(), name.clone(), state.object.clone()));
        state.keeper = Some(keeper.abort_handle());
    }

    /// A tenant's store is off unless the platform allows such stores, and the host it names.
    fn tenant_store_refused(&self, name: &StoreName) -> Option<Problem> {
        name.namespace.as_ref()?;
        let refuse = |message: &str| Some(Problem::new(Reason::StoreNotReady, message));
        let Some(hosts) = &self.parts.tenant_hosts else {
            return refuse(
                "tenants' stores are off: ask the platform team for tenantStores.enabled, or use a ClusterSecretStore",
            );
        };
        let object = &self.stores.get(name)?.object;
        object.addresses().find_map(|address| refuse(address_refused(address, hosts)?))
    }

    /// The first probe of a store is in: its references are looked at.
    pub(super) fn settle_store(&mut self, name: &StoreName) {
        let Some(state) = self.stores.get_mut(name) else { return };
        if std::mem::replace(&mut state.settled, true) {
            return;
        }
        for key in self.references_of(name) {
            self.settle(&key);
        }
    }
}

/// Why a tenant's store may not connect there.
fn address_refused(address: &str, hosts: &[String]) -> Option<&'static str> {
    let Some(rest) = address.strip_prefix("https://") else { return Some("a tenant's store needs an https address") };
    let authority = rest.split('/').next().unwrap_or_default();
    let allowed = hosts.iter().any(|h| h == authority || authority.strip_suffix(":443") == Some(h));
    (!allowed).then_some(
        "this host is not one that tenants' stores may use: ask the platform team for tenantStores.allowedHosts",
    )
}

#[cfg(test)]
mod tests {
    use super::address_refused;

    #[test]
    fn a_tenants_store_goes_to_allowed_hosts_only() {
        let hosts = ["vault.example".to_owned(), "bao.example:8200".to_owned()];
        for good in [
            "https://vault.example",
            "https://vault.example/",
            "https://vault.example:443/x",
            "https://bao.example:8200",
        ] {
            assert_eq!(address_refused(good, &hosts), None, "{good}");
        }
        for bad in [
            "http://vault.example",
            "https://vault.example:8200",
            "https://bao.example",
            "https://vault.example.evil",
            "https://evil@vault.example",
            "https://evil\\vault.example",
            "https://vault.example.",
            "https://169.254.169.254",
            "https://",
        ] {
            assert!(address_refused(bad, &hosts).is_some(), "{bad}");
        }
        assert!(address_refused("https://vault.example", &[]).is_some());
    }
}

//! One configuration resolved: the operator's own decisions, with local values as answers that are known beforehand.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;

use super::{
    ConfigValue, Configuration, ResolveError, Resolver, Source, ValueKind,
    seeds::{self, Seeds},
    stores::{ACCESS, Configured, is_store_wide},
};
use crate::{
    api::{Layout, NameStyle, Reason, SecretReferenceSpec, Tenancy},
    naming::{Org, Scheme},
    operator::{reading, tenancy},
    resolve::{self, Answer, Answers, Read, Resolved, Step, Tenant, resolve},
    stores::{Failure, StoreError},
};

/// How names are checked where no store says how it spells them.
const ANY_NAME: Scheme = Scheme {
    layout: Layout::Flat,
    style: NameStyle::Verbatim,
    folders: true,
    lowercase: false,
    variables: false,
    max_len: 512,
};

/// Everything that a configuration yields.
pub(crate) struct Resolution {
    pub(crate) resolved: Resolved,
    store: Option<String>,
    places: BTreeMap<String, super::LocalPlace>,
}

/// How far it came, for those who want to know why.
pub(super) struct Work<'a> {
    pub(super) tenant: Tenant,
    pub(super) scheme: Scheme,
    pub(super) store: Option<&'a Configured>,
    /// With the scope alone that local values are in.
    pub(super) spec: SecretReferenceSpec,
    pub(super) seeds: Seeds,
    pub(super) answers: Answers,
    /// Why the store was left out.
    pub(super) out: Option<StoreError>,
    pub(super) outcome: Result<Resolved, ResolveError>,
}

impl Resolver {
    /// Everything that a configuration yields, all or nothing.
    pub(crate) async fn resolve(&self, org: &Org, configuration: &Configuration) -> Result<Resolution, ResolveError> {
        self.sweep();
        let work = self.work(org, configuration, configuration.spec.clone()).await?;
        let resolved = work.outcome?;
        resolve::deliverable(&configuration.spec, &resolved.data)?;
        for warning in &resolved.warnings {
            self.tell(&format!("warning: {warning}"));
        }
        Ok(Resolution { resolved, store: work.store.map(|s| s.name.clone()), places: work.seeds.places })
    }

    /// What can be told of a configuration without looking anything up. Without an organisation any will do.
    ///
    /// # Errors
    /// `InvalidReference` and its like.
    pub fn inspect(&self, org: Option<&Org>, configuration: &Configuration) -> Result<(), ResolveError> {
        let whole = &configuration.spec;
        // Which store it means may be open until somebody asks for a value.
        let store = self.choose(whole).unwrap_or_default();
        let any = || Org::new("any").map_err(|error| ResolveError::new(Reason::OrgNotBound, error.to_string()));
        let fixed = store.and_then(|store| store.tenancy.fixed_org()).and_then(|org| Org::new(org).ok());
        let org = org.cloned().or(fixed).map_or_else(any, Ok)?;
        let tenant = bind(store, &org, whole)?;
        resolve::check(whole, &tenant, &store.map_or(ANY_NAME, |store| store.scheme), &self.options.policy)?;
        Ok(())
    }

    /// One entry that the configuration spells out.
    pub(super) async fn entry(
        &self,
        org: &Org,
        configuration: &Configuration,
        key: &str,
    ) -> Result<ConfigValue, ResolveError> {
        let mut spec = configuration.spec.clone();
        if let Some(data) = &mut spec.data {
            data.retain(|entry| entry.key == key);
        }
        spec.data_from = None;
        if let Some(target) = &mut spec.target {
            target.template = None;
        }
        let work = self.work(org, configuration, spec).await?;
        let resolution = Resolution {
            resolved: work.outcome?,
            store: work.store.map(|s| s.name.clone()),
            places: work.seeds.places,
        };
        let value = resolution.value(configuration, key)?;
        value.ok_or_else(|| ResolveError::unknown_key(key, ""))
    }

    /// Resolves `spec`, which is the configuration's or a part of it.
    pub(super) async fn work(
        &self,
        org: &Org,
        configuration: &Configuration,
        mut spec: SecretReferenceSpec,
    ) -> Result<Work<'_>, ResolveError> {
        let whole = &configuration.spec;
        let store = self.choose(whole)?;
        let scheme = store.map_or(ANY_NAME, |store| store.scheme);
        let tenant = bind(store, org, whole)?;
        resolve::check(whole, &tenant, &scheme, &self.options.policy)?;
        let seeds = match &self.local {
            Some(local) => seeds::plant(local, &mut spec, &tenant, &scheme).await?,
            None => Seeds::default(),
        };
        self.tell_local(&seeds);
        let mut work = Work {
            tenant,
            scheme,
            store,
            spec,
            answers: seeds.answers.clone(),
            seeds,
            out: None,
            outcome: Err(ResolveError::new(Reason::StoreNotReady, "")),
        };
        self.drive(&mut work).await;
        for (key, kind) in &configuration.kinds {
            if let (Ok(resolved), Some(place)) = (&work.outcome, work.seeds.places.get(key))
                && let Some(what) = resolved.data.get(key).and_then(|value| misfit(*kind, value.expose_str()))
            {
                let message = format!("{key}: {place} is no {what}, which the configuration says it is: correct it");
                return Err(ResolveError::new(Reason::InvalidReference, message));
            }
        }
        Ok(work)
    }

    async fn drive(&self, work: &mut Work<'_>) {
        loop {
            match resolve(&work.spec, &work.tenant, &work.scheme, &work.answers) {
                Step::Done(resolved) => {
                    work.outcome = Ok(resolved);
                    return;
                }
                Step::Failed(problem) => {
                    let hint = self.hint(work, problem.reason).await;
                    let missing = (problem.reason == Reason::SecretNotFound && self.local.is_some())
                        .then(|| self.nowhere(work))
                        .flatten();
                    let mut error = ResolveError::from(problem);
                    if let Some(message) = missing {
                        error.message = message;
                    }
                    error.hint = hint;
                    work.outcome = Err(error);
                    return;
                }
                Step::Ask(wanted) if work.out.is_some() => work.answer_without_store(wanted),
                Step::Ask(wanted) => {
                    if let Err(error) = self.ask(work, wanted).await {
                        self.leave_out(work, error);
                    }
                }
            }
        }
    }

    /// # Errors
    /// When the store as a whole gives no answers, and local values can go on without it.
    async fn ask(&self, work: &mut Work<'_>, wanted: BTreeSet<Read>) -> Result<(), StoreError> {
        let layers = match work.store {
            None => Err(StoreError::new(
                Failure::NotReady,
                "no store is configured: write a secretref.toml, or set VAULT_ADDR, AZURE_KEY_VAULT_URL or INFISICAL_PROJECT_ID",
            )),
            Some(store) => {
                if self.local.is_some() {
                    store.probe(&self.cache, &self.metrics).await?;
                }
                store.layers(&self.cache, &self.metrics).await
            }
        };
        let layers = match layers {
            Ok(layers) => layers,
            Err(error) if self.local.is_some() => return Err(error),
            Err(error) => {
                work.answers.extend(wanted.into_iter().map(|read| (read, Answer::Failed(error.clone()))));
                return Ok(());
            }
        };
        let asked = wanted.into_iter().map(async |read| {
            let answer = reading::ask(layers, &read, &ACCESS).await;
            (read, answer)
        });
        for (read, mut answer) in join_all(asked).await {
            match &mut answer {
                Answer::Failed(error) if self.local.is_some() && is_store_wide(error.failure) => {
                    return Err(error.clone());
                }
                Answer::Listed(keys) => {
                    if let Some(local) = work.seeds.listed.get(&read) {
                        let all: BTreeSet<_> = keys.iter().chain(local).cloned().collect();
                        *keys = all.into_iter().collect::<Vec<_>>().into();
                    }
                }
                _ => {}
            }
            work.answers.insert(read, answer);
        }
        Ok(())
    }

    /// Local values go on by themselves.
    fn leave_out(&self, work: &mut Work<'_>, error: StoreError) {
        work.answers = work.seeds.answers.clone();
        if let Some(store) = work.store {
            let sentence = format!(
                "warning: store {} is left out, only local values count ({}): {}",
                store.name,
                error.failure.reason().as_str(),
                error.message
            );
            self.tell(&sentence);
        } else {
            self.tell(&format!("warning: only local values count: {}", error.message));
        }
        work.out = Some(error);
    }

    /// The store that a configuration means here.
    fn choose(&self, spec: &SecretReferenceSpec) -> Result<Option<&Configured>, ResolveError> {
        let asked = self.options.store.as_deref();
        let wanted = asked.unwrap_or(&spec.store_ref.name);
        let found = self.stores.iter().find(|store| store.name == wanted);
        match (found, &*self.stores) {
            (Some(store), _) => Ok(Some(store)),
            (None, []) if asked.is_none() => Ok(None),
            (None, [only]) if asked.is_none() => Ok(Some(only)),
            (None, stores) => {
                let names: Vec<&str> = stores.iter().map(|store| store.name.as_str()).collect();
                let what = if wanted.is_empty() {
                    "the configuration names no store".to_owned()
                } else {
                    format!("there is no store {wanted} here")
                };
                let choices = if names.is_empty() { "none is configured".to_owned() } else { names.join(", ") };
                let message = format!("{what}: name one with storeRef or --store: {choices}");
                Err(ResolveError::new(Reason::StoreNotFound, message))
            }
        }
    }

    fn tell_local(&self, seeds: &Seeds) {
        if !seeds.places.is_empty() {
            let places: Vec<String> = seeds.places.iter().map(|(key, place)| format!("{key} ({place})")).collect();
            let are = if places.len() == 1 { "a local value wins" } else { "local values win" };
            self.tell(&format!("notice: {are} over the store: {}; production does not see them", places.join(", ")));
        }
    }
}

impl Work<'_> {
    /// What is not local is not there.
    fn answer_without_store(&mut self, wanted: BTreeSet<Read>) {
        for read in wanted {
            let answer = match &read {
                Read::Key(..) => Answer::Absent,
                Read::List(_) => {
                    let local = self.seeds.listed.get(&read).into_iter().flatten();
                    Answer::Listed(local.cloned().collect::<Vec<_>>().into())
                }
            };
            self.answers.insert(read, answer);
        }
    }
}

impl Resolution {
    /// One key of it.
    pub(super) fn value(&self, configuration: &Configuration, key: &str) -> Result<Option<ConfigValue>, ResolveError> {
        let Some(value) = self.resolved.data.get(key).cloned() else { return Ok(None) };
        let entry = self.resolved.entries.iter().find(|entry| entry.key == key);
        let spelled = configuration.spec.data().iter().find(|entry| entry.key == key);
        let place = self.places.get(key).or_else(|| self.places.get(&entry?.name));
        let source = match (place, entry, spelled) {
            (Some(place), ..) => Source::Local(place.clone()),
            (None, Some(entry), _) => Source::Store {
                store: self.store.clone().unwrap_or_default(),
                scope: entry.scope,
                version: entry.version.clone(),
            },
            (None, None, Some(_)) => Source::Configuration,
            (None, None, None) => Source::Template,
        };
        let plain = spelled.is_some_and(|entry| entry.secret_ref.is_none());
        let kind =
            if plain { configuration.kinds.get(key).copied().unwrap_or(ValueKind::String) } else { ValueKind::Secret };
        Ok(Some(ConfigValue { value, kind, source }))
    }

    /// Whether a key holds a secret: what is made from secrets, too.
    pub(crate) fn is_secret(&self, configuration: &Configuration, key: &str) -> bool {
        let spelled = configuration.spec.data().iter().find(|entry| entry.key == key);
        spelled.is_none_or(|entry| entry.secret_ref.is_some())
    }
}

/// The store's word on the organisation, as on a cluster.
fn bind(store: Option<&Configured>, org: &Org, spec: &SecretReferenceSpec) -> Result<Tenant, ResolveError> {
    let any = Tenancy::default();
    let tenancy = store.map_or(&any, |store| &store.tenancy);
    if let (Some(fixed), Some(store)) = (tenancy.fixed_org().filter(|fixed| *fixed != org.as_str()), store) {
        let message = format!("store {} is organisation {fixed}'s alone: ask with --org {fixed}", store.name);
        return Err(ResolveError::new(Reason::OrgMismatch, message));
    }
    let labels = BTreeMap::from([(tenancy.label().to_owned(), org.to_string())]);
    Ok(tenancy::bind(tenancy, &labels, spec, &spec.store_ref.name)?)
}

/// What a local value is not, although it should be.
fn misfit(kind: ValueKind, text: Option<&str>) -> Option<&'static str> {
    let fits = |fits: bool, what| (!fits).then_some(what);
    match kind {
        ValueKind::Int => fits(text.is_some_and(|t| t.parse::<i64>().is_ok()), "int"),
        ValueKind::Bool => fits(matches!(text, Some("true" | "false")), "bool"),
        ValueKind::Json => fits(text.is_some_and(|t| serde_json::from_str::<serde::de::IgnoredAny>(t).is_ok()), "JSON"),
        ValueKind::String | ValueKind::Secret => None,
    }
}

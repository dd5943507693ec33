//! Lists: names, versions, and the marks by which many keys are looked at in few requests.
//!
//! The vault lists 25 secrets a page, all that it has, and no part of it. So a list tells changes more cheaply than
//! reads only if the vault has fewer pages than there are keys to look at.

use std::{cmp::Reverse, collections::HashMap, time::Duration};

use azure_core::http::{PageIterator, Pager, Response, headers::HeaderName};
use azure_security_keyvault_secrets::models::{ListSecretPropertiesResult, SecretClientListSecretPropertiesOptions};
use futures::StreamExt;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    KeyVault,
    transport::date,
    wire::{self, Listed, Need},
};
use crate::{
    naming::StoreKey,
    stores::{ChangeToken, Failure, Metadata, StoreError},
};

/// More than any vault that answers in reasonable time; a list that never ends is ended.
const MAX_PAGES: usize = 1000;
/// For so long it is not asked again whether lists have become cheaper, or allowed.
const SETTLED: Duration = Duration::from_secs(3600);
const DATE: HeaderName = HeaderName::from_static("date");

/// What is known of the vault's size.
#[derive(Default)]
pub(super) enum Size {
    /// Nothing yet.
    #[default]
    Unknown,
    /// So many pages.
    Pages(usize),
    /// More pages than this, as of then.
    Beyond(usize, Instant),
    /// The identity may not list, as of then.
    Denied(Instant),
}

impl Size {
    /// Whether a list may take fewer requests than so many reads.
    pub fn is_below(&self, keys: usize) -> bool {
        match *self {
            Self::Unknown => keys > 1,
            Self::Pages(pages) => pages < keys,
            Self::Beyond(pages, since) => keys > pages + 1 || (keys > 1 && since.elapsed() > SETTLED),
            Self::Denied(since) => keys > 1 && since.elapsed() > SETTLED,
        }
    }
}

/// A list, page by page.
struct Pages<'a> {
    pages: PageIterator<Response<ListSecretPropertiesResult>>,
    what: &'a str,
    read: usize,
}

/// One page of it.
struct Page {
    items: Vec<Listed>,
    now: Timestamp,
    more: bool,
}

impl<'a> Pages<'a> {
    fn new(pager: azure_core::Result<Pager<ListSecretPropertiesResult>>, what: &'a str) -> Result<Self, StoreError> {
        let pages = pager.map_err(|_| wire::nonsense(&what))?.into_pages();
        Ok(Self { pages, what, read: 0 })
    }

    async fn next(&mut self) -> Option<azure_core::Result<Page>> {
        let page = match self.pages.next().await? {
            Ok(page) => page,
            Err(error) => return Some(Err(error)),
        };
        self.read += 1;
        let now = date(page.headers().get_optional_str(&DATE)).unwrap_or_else(Timestamp::now);
        let page: ListSecretPropertiesResult = match page.into_model() {
            Ok(page) => page,
            Err(error) => return Some(Err(error)),
        };
        let more = page.next_link.is_some_and(|link| !link.is_empty());
        Some(Ok(Page { items: page.value.into_iter().filter_map(Listed::of).collect(), now, more }))
    }

    fn is_endless(&self) -> Result<(), StoreError> {
        if self.read < MAX_PAGES {
            return Ok(());
        }
        let message =
            format!("{} failed: the vault holds more than {} secrets: use a smaller one", self.what, 25 * MAX_PAGES);
        Err(StoreError::new(Failure::Misconfigured, message))
    }
}

impl KeyVault {
    /// Every name that starts with `prefix`, as it was written first.
    pub(super) async fn names(&self, prefix: &str) -> Result<Vec<StoreKey>, StoreError> {
        let what = format!("listing {prefix}*");
        self.login.ready().await?;
        let mut pages = Pages::new(self.client.list_secret_properties(None), &what)?;
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| wire::error(&error, &what, Need::List))?;
            let names = page.items.into_iter().filter(|item| !item.managed).map(|item| item.name);
            let starts = |name: &String| name.get(..prefix.len()).is_some_and(|n| n.eq_ignore_ascii_case(prefix));
            keys.extend(names.filter(starts).map(StoreKey::verbatim));
            pages.is_endless()?;
        }
        *self.size() = Size::Pages(pages.read);
        Ok(keys)
    }

    /// The versions of a secret, newest first: the vault tells times in seconds, and gives no other order.
    pub(super) async fn history(&self, name: &str, what: &str) -> Result<Vec<Metadata>, StoreError> {
        self.login.ready().await?;
        let mut pages = Pages::new(self.client.list_secret_properties_versions(name, None), what)?;
        let mut versions = Vec::new();
        while let Some(page) = pages.next().await {
            match page {
                Ok(page) => versions.extend(page.items.into_iter().map(|item| item.about)),
                Err(error) if wire::is_missing(&error) => return Ok(Vec::new()),
                Err(error) => return Err(wire::error(&error, &what, Need::List)),
            }
            pages.is_endless()?;
        }
        // Of one second, what is listed last is taken for the newest.
        versions.reverse();
        versions.sort_by_key(|version| Reverse((version.created, version.updated)));
        Ok(versions)
    }

    /// Whether the identity may list.
    pub(super) async fn may_list(&self, what: &str) -> Result<bool, StoreError> {
        let one = SecretClientListSecretPropertiesOptions { maxresults: Some(1), ..Default::default() };
        let mut pages = Pages::new(self.client.list_secret_properties(Some(one)), what)?;
        match pages.next().await {
            Some(Err(error)) if wire::is_denied(&error) => Ok(false),
            Some(Err(error)) => Err(wire::error(&error, &what, Need::List)),
            _ => {
                let mut size = self.size();
                if matches!(*size, Size::Denied(_)) {
                    *size = Size::Unknown;
                }
                Ok(true)
            }
        }
    }

    /// The marks of these keys, by the names that were asked for; `None`: reading them takes fewer requests after all.
    pub(super) async fn marks(&self, keys: &[StoreKey]) -> Result<Option<HashMap<StoreKey, ChangeToken>>, StoreError> {
        let what = "listing the vault's secrets";
        if !self.size().is_below(keys.len()) {
            return Ok(None);
        }
        self.login.ready().await?;
        let mut wanted: HashMap<String, Vec<&StoreKey>> = HashMap::new();
        for key in keys {
            wanted.entry(key.as_str().to_ascii_lowercase()).or_default().push(key);
        }
        let mut pages = Pages::new(self.client.list_secret_properties(None), what)?;
        let mut marks = HashMap::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                // Reads tell better what is wrong with rights, if anything is.
                Err(error) if wire::is_denied(&error) => {
                    *self.size() = Size::Denied(Instant::now());
                    return Ok(None);
                }
                Err(error) => return Err(wire::error(&error, &what, Need::List)),
            };
            for item in page.items {
                for key in wanted.get(&item.name.to_ascii_lowercase()).into_iter().flatten() {
                    marks.insert((*key).clone(), wire::mark(item.about.updated, page.now));
                }
            }
            if page.more && pages.read >= keys.len() {
                *self.size() = Size::Beyond(pages.read, Instant::now());
                return Ok(None);
            }
            pages.is_endless()?;
        }
        *self.size() = Size::Pages(pages.read);
        Ok(Some(marks))
    }
}

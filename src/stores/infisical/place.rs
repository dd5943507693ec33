//! Where a store key is: a folder below the root, and a name in it.

use crate::naming::StoreKey;

/// The folder under which all of a store's keys are.
#[derive(Clone)]
pub(super) struct Root(String);

/// Where one secret is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Absolute, without a slash at its end unless it is `/`.
    pub folder: String,
    pub name: String,
}

impl Root {
    pub fn new(path: Option<&str>) -> Self {
        let path = path.unwrap_or_default().trim_matches('/');
        Self(if path.is_empty() { String::new() } else { format!("/{path}") })
    }

    /// The root itself.
    pub fn path(&self) -> &str {
        if self.0.is_empty() { "/" } else { &self.0 }
    }

    /// The folder that the root is in, and its name there; none for `/`, which every environment has.
    pub fn parent(&self) -> Option<(&str, &str)> {
        let (parent, name) = self.0.rsplit_once('/')?;
        Some((if parent.is_empty() { "/" } else { parent }, name))
    }

    /// A folder below the root. `None`: no folder is called so.
    pub fn folder(&self, below: &str) -> Option<String> {
        if below.is_empty() {
            return Some(self.path().to_owned());
        }
        below.split('/').all(is_folder).then(|| format!("{}/{below}", self.0))
    }

    /// Where a key is. `None`: no secret is called so.
    pub fn place(&self, key: &str) -> Option<Place> {
        let (folder, name) = key.rsplit_once('/').map_or(("", key), |(folder, name)| (folder, name));
        // `a` and `/a` would be the same secret.
        if key.starts_with('/') || !is_name(name) {
            return None;
        }
        Some(Place { folder: self.folder(folder)?, name: name.to_owned() })
    }

    /// What a folder is called in store keys: below the root. `None`: it is not there.
    pub fn below<'a>(&self, folder: &'a str) -> Option<&'a str> {
        let below = folder.strip_prefix(&self.0)?;
        let inside = folder.starts_with('/') && (below.is_empty() || below.starts_with('/'));
        inside.then(|| below.trim_matches('/'))
    }

    /// The key of a secret that was listed, if it can be asked for by one.
    pub fn key(&self, folder: &str, name: &str) -> Option<StoreKey> {
        let below = folder.strip_prefix(&self.0)?.trim_end_matches('/');
        let key = match below.strip_prefix('/') {
            Some(below) => format!("{below}/{name}"),
            None if below.is_empty() => name.to_owned(),
            None => return None,
        };
        self.place(&key).map(|_| StoreKey::verbatim(key))
    }
}

/// What the server takes for the name of a folder.
fn is_folder(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// What every generation of the server takes for the name of a secret, and what a path can hold.
fn is_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &str, key: &str) -> Option<(String, String)> {
        Root::new(Some(root)).place(key).map(|p| (p.folder, p.name))
    }

    #[test]
    fn keys_lead_to_folders_and_back() {
        for (root, key, folder) in [
            ("/", "acme/DB_PASSWORD", "/acme"),
            ("/", "acme/sub/NAME", "/acme/sub"),
            ("/", "acme--DB_PASSWORD", "/"),
            ("/platform", "GLOBAL/DB_PASSWORD", "/platform/GLOBAL"),
            ("/a/b", "acme--DB_PASSWORD", "/a/b"),
            ("/", "acme/tls.crt", "/acme"),
        ] {
            let name = key.rsplit('/').next().unwrap();
            assert_eq!(place(root, key), Some((folder.to_owned(), name.to_owned())), "{root} {key}");
            assert_eq!(Root::new(Some(root)).key(folder, name), Some(StoreKey::verbatim(key)), "{root} {key}");
        }
    }

    #[test]
    fn what_no_secret_is_called_is_never_asked_for() {
        for key in [
            "",
            "/",
            "/A",
            "acme/",
            "acme//A",
            "acme/../A",
            "acme/./A",
            "..",
            "acme/..",
            "a.b/A",
            "a b/A",
            "acme/A B",
            "acme/A?x",
            "acme/A%2fB",
            "acme/é",
            "acme\\A",
            "acme/A\n",
            "acme/#A",
        ] {
            assert_eq!(place("/", key), None, "{key:?}");
        }
    }

    #[test]
    fn secrets_outside_of_the_root_have_no_key() {
        let root = Root::new(Some("/platform"));
        assert_eq!(root.key("/platform", "A"), Some(StoreKey::verbatim("A")));
        assert_eq!(root.key("/platform-old/acme", "A"), None);
        assert_eq!(root.key("/acme", "A"), None);
        assert_eq!(root.key("/platform/acme", "a name"), None);
        assert_eq!((root.parent(), Root::new(Some("/a/b")).parent()), (Some(("/", "platform")), Some(("/a", "b"))));
        assert_eq!((Root::new(None).parent(), Root::new(None).path()), (None, "/"));
    }
}

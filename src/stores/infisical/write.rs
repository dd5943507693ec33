//! Writes. What the server would keep in another form is refused before it is asked.

use reqwest::{Method, StatusCode};
use zeroize::Zeroizing;

use super::{
    Infisical, MAX_VALUE,
    place::Place,
    wire::{self, Missing},
};
use crate::{
    secret::SecretValue,
    stores::{Failure, Payload, Property, StoreError, When, Write, Written, http::Reply},
};

const CREATE: &str = "Secrets: Create";
const EDIT: &str = "Secrets: Edit";
const CREATE_FOLDER: &str = "Secret Folders: Create (on older servers Secrets: Create)";

impl Infisical {
    /// Writes a value under its condition. A folder that is missing is created first.
    pub(super) async fn put(&self, place: &Place, text: &str, when: &When, what: &str) -> Result<Written, StoreError> {
        match when {
            When::Absent => self.create(place, text, what).await,
            When::Version(wanted) => {
                // Not atomic: somebody may write between the two.
                let Some(reply) = self.read(place, &[("viewSecretValue", "false")], what).await? else {
                    return Ok(Written::Conflict);
                };
                if wire::version(&reply, &what)?.to_string() != *wanted {
                    return Ok(Written::Conflict);
                }
                Ok(self.update(place, text, what).await?.map_or(Written::Conflict, Written::Version))
            }
            When::Always => match self.update(place, text, what).await? {
                Some(version) => Ok(Written::Version(version)),
                None => match self.create(place, text, what).await? {
                    Written::Conflict => {
                        let message =
                            format!("{what} failed: somebody else created it meanwhile: it will be tried again");
                        Err(StoreError::new(Failure::Unavailable, message))
                    }
                    written @ Written::Version(_) => Ok(written),
                },
            },
        }
    }

    /// The version that it has now; `None`: there is no such secret.
    async fn update(&self, place: &Place, text: &str, what: &str) -> Result<Option<String>, StoreError> {
        let reply = self.write_secret(Method::PATCH, &place.folder, &place.name, Some(text), what).await?;
        self.changed(&reply, place, EDIT, what).await
    }

    async fn create(&self, place: &Place, text: &str, what: &str) -> Result<Written, StoreError> {
        for _ in 0..2 {
            let reply = self.write_secret(Method::POST, &place.folder, &place.name, Some(text), what).await?;
            if wire::exists_already(&reply) {
                return Ok(Written::Conflict);
            }
            if let Some(version) = self.changed(&reply, place, CREATE, what).await? {
                return Ok(Written::Version(version));
            }
            self.make_folder(place, what).await?;
        }
        let message = format!("{what} failed: its folder does not stay: look for who else deletes folders there");
        Err(StoreError::new(Failure::Unavailable, message))
    }

    async fn make_folder(&self, place: &Place, what: &str) -> Result<(), StoreError> {
        if place.folder == self.root.path() {
            // It was there a moment ago; it is not ours to create.
            return self.look_at_root().await;
        }
        let (parent, name) = place.folder.rsplit_once('/').unwrap_or_default();
        let parent = if parent.is_empty() { "/" } else { parent };
        let reply = self.create_folder(parent, name, what).await?;
        match reply.status {
            StatusCode::OK => Ok(()),
            _ => Err(wire::refusal(&reply, &what, &self.grant(CREATE_FOLDER, &place.folder))),
        }
    }

    /// The version that a change yielded; `None`: the secret, or its folder, is certainly not there.
    pub(super) async fn changed(
        &self,
        reply: &Reply,
        place: &Place,
        right: &str,
        what: &str,
    ) -> Result<Option<String>, StoreError> {
        match reply.status {
            StatusCode::OK => match wire::borrowed::<wire::Changed<'_>>(reply, &what)? {
                wire::Changed { secret: Some(secret), .. } => Ok(Some(secret.version.to_string())),
                wire::Changed { approval: Some(_), .. } => Err(StoreError::new(
                    Failure::Denied,
                    format!(
                        "{what} is not done: an approval policy of the project holds for the folder, and a request was made: let somebody approve it, or take folder {} out of the policy",
                        place.folder
                    ),
                )),
                wire::Changed { .. } => Err(wire::nonsense(&what)),
            },
            StatusCode::NOT_FOUND => match wire::missing(reply, &place.folder, &place.name) {
                Missing::Secret => Ok(None),
                Missing::Folder => self.certain().await.map(|()| None),
                Missing::Other => Err(wire::refusal(reply, &what, "")),
            },
            _ => Err(wire::refusal(reply, &what, &self.grant(right, &place.folder))),
        }
    }
}

/// The text to write; an error for what would not read back as it is.
pub(super) fn text(write: &Write, what: &str) -> Result<Zeroizing<String>, StoreError> {
    let refuse = |why: &str| Err(StoreError::new(Failure::Misconfigured, format!("{what} was not tried: {why}")));
    if write.content_type.is_some() {
        return refuse("Infisical keeps no content type: leave it out");
    }
    if write.tags.as_ref().is_some_and(|tags| !tags.is_empty()) {
        return refuse(
            "tags of Infisical are made in the project, not with a secret: leave them out, and set them there",
        );
    }
    let text = match &write.payload {
        Payload::Single(value) => value.expose_str().map(|text| Zeroizing::new(text.to_owned())),
        Payload::Map(properties) => json(properties.iter().map(|(name, property)| (name.as_str(), property))),
    };
    let Some(text) = text else {
        return refuse(
            "Infisical holds text, and the value is binary: write it as Base64, and read it with decode: Base64",
        );
    };
    if text.len() > MAX_VALUE {
        return refuse("it is longer than 512 KiB, which is half of what a Secret may hold: make it smaller");
    }
    let is_space = |c: char| c.is_whitespace() || c == '\u{feff}';
    let body = text.strip_suffix('\n').unwrap_or(&text);
    if body.trim_matches(is_space).len() != body.len() {
        return refuse(
            "Infisical cuts white space off a value, except one newline at its end: take it off, or write the value as Base64",
        );
    }
    if is_reference(&text) {
        return refuse(
            "Infisical would replace what is in ${...} by another secret when it is read: take that out, or write the value as Base64",
        );
    }
    Ok(text)
}

/// Whether something in it may be read as a reference to another secret.
fn is_reference(text: &str) -> bool {
    text.match_indices("${").any(|(at, _)| text[at + 2..].find('}').is_some_and(|end| end > 0))
}

/// A map as compact JSON; `None` if something in it is no text.
fn json<'a>(properties: impl Iterator<Item = (&'a str, &'a Property)> + Clone) -> Option<Zeroizing<String>> {
    let bytes = |property: &'a Property| match property {
        Property::Text(value) | Property::Json(value) => SecretValue::expose(value),
        Property::Null => b"null",
    };
    // A character takes six at most, so the buffer never moves and leaves no copy behind.
    let most = properties.clone().map(|(name, property)| 6 * (name.len() + bytes(property).len()) + 6).sum::<usize>();
    let mut out = Zeroizing::new(Vec::with_capacity(most + 2));
    for (name, property) in properties {
        let start = if out.is_empty() { b'{' } else { b',' };
        out.push(start);
        serde_json::to_writer(&mut *out, name).ok()?;
        out.push(b':');
        match property {
            Property::Text(value) => serde_json::to_writer(&mut *out, value.expose_str()?).ok()?,
            Property::Json(_) | Property::Null => out.extend_from_slice(bytes(property)),
        }
    }
    if out.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
    std::str::from_utf8(&out).ok().map(|text| Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(value: &str) -> Result<String, StoreError> {
        let payload = Payload::Single(SecretValue::from(value.to_owned()));
        let write = Write { payload, when: When::Always, content_type: None, tags: None };
        text(&write, "writing acme/A").map(|text| text.to_string())
    }

    #[test]
    fn what_reads_back_as_it_is_may_be_written() {
        for value in ["", "\n", "v", "v\n", "a\nb", "é漢\nline2 \"q\" \\", "$ {x}", "${", "${}", "a}${", "$x{y}"] {
            assert_eq!(kept(value).as_deref(), Ok(value));
        }
    }

    #[test]
    fn what_the_server_would_change_is_refused() {
        for (value, part) in [
            (" v", "white space"),
            ("v ", "white space"),
            ("v\n\n", "white space"),
            ("\nv", "white space"),
            ("v\t\n", "white space"),
            (" \n", "white space"),
            ("\u{feff}v", "white space"),
            ("a${DB}b", "${...}"),
            ("${x y}", "${...}"),
            ("${}${a}", "${...}"),
            ("${a\nb}", "${...}"),
        ] {
            let error = kept(value).unwrap_err();
            assert!(error.failure == Failure::Misconfigured && error.message.contains(part), "{value:?}: {error}");
        }
        let write = |payload, content_type: Option<&str>| Write {
            payload,
            when: When::Always,
            content_type: content_type.map(Into::into),
            tags: None,
        };
        let binary = text(&write(Payload::Single(SecretValue::new(vec![0xff, 0xfe])), None), "writing acme/A");
        assert!(binary.unwrap_err().message.contains("Base64"));
        let typed =
            text(&write(Payload::Single(SecretValue::from("v".to_owned())), Some("text/plain")), "writing acme/A");
        assert!(typed.unwrap_err().message.contains("content type"));
    }

    #[test]
    fn a_map_is_written_as_compact_json() {
        let value = |text: &str| SecretValue::from(text.to_owned());
        let map = [
            ("b".to_owned(), Property::Json(value("[1,2]"))),
            ("a".to_owned(), Property::Text(value("q\"\n\u{1}"))),
            ("c".to_owned(), Property::Null),
        ];
        let write = |payload| Write { payload, when: When::Always, content_type: None, tags: None };
        let json = text(&write(Payload::Map(map.into())), "writing acme/A").unwrap();
        assert_eq!(&*json, r#"{"a":"q\"\n\u0001","b":[1,2],"c":null}"#);
        assert_eq!(&**text(&write(Payload::Map([].into())), "writing acme/A").unwrap(), "{}");
    }
}

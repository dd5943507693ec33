//! The nearest of the names there are, for one that was mistyped.

/// `; did you mean X?`, or nothing if none is near.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

/// The name that differs by the fewest letters, if they are few.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.chars().count() / 3).clamp(1, 4);
    let distance = |other: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &other.to_lowercase());
    let near = known.into_iter().map(|other| (distance(other), other));
    near.filter(|(distance, other)| *distance <= most && *other != name).min().map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_letters_off() {
        let known = ["db-password", "db-user", "api-key"];
        assert_eq!(nearest("db-pasword", known), Some("db-password"));
        assert_eq!(nearest("DB-USER", known), Some("db-user"));
        assert_eq!(nearest("something-else", known), None);
        assert_eq!(nearest("api-key", known), None);
        assert_eq!(did_you_mean("apikey", known), "; did you mean api-key?");
    }
}

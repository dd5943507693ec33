//! Durations as Kubernetes users write them: `5m`, `1h30m`, `500ms`.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// In seconds: more than the schema admits, and what a clock can still be set forward by, twice.
const LONGEST: f64 = 1e14;

/// A Go duration string in units of `h`, `m`, `s` and `ms`; never negative.
///
/// The schema admits only strings that [`GoDuration::get`] can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoDuration(pub String);

impl GoDuration {
    /// The length of time, or `None` if the text is no duration (the API server refuses those).
    pub fn get(&self) -> Option<Duration> {
        let mut rest = self.0.as_str();
        let mut total = 0.0;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let amount: f64 = rest[..digits].parse().ok()?;
            rest = &rest[digits..];
            let unit = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            total += amount
                * match &rest[..unit] {
                    "h" => 3600.0,
                    "m" => 60.0,
                    "s" => 1.0,
                    "ms" => 0.001,
                    _ => return None,
                };
            rest = &rest[unit..];
        }
        Duration::try_from_secs_f64(total).ok().filter(|_| total <= LONGEST)
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "pattern": r"^([0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h))+$",
        })
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kubernetes_users_write() {
        let get = |s: &str| GoDuration(s.into()).get().map(|d| d.as_millis());
        assert_eq!(get("5m"), Some(300_000));
        assert_eq!(get("1h30m"), Some(5_400_000));
        assert_eq!(get("0s"), Some(0));
        assert_eq!(get("1.5s"), Some(1_500));
        assert_eq!(get("500ms"), Some(500));
        for bad in ["", "5", "m", "-1s", "5 m", "1d", "1s2"] {
            assert_eq!(get(bad), None, "{bad}");
        }
    }
}

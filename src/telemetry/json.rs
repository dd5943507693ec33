//! Logs as JSON: one flat object a line. `timestamp`, `level`, `target` and `message` are always there; then what the
//! line says, and what the spans around it say: `trace_id`, `reference`, `store`. The line goes before the span, and the
//! inner span before the outer one.

use std::fmt;

use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::LookupSpan,
};

/// Attributes of our own have a prefix in traces, which logs do without.
const OURS: &str = "secretref.";

/// The format.
pub struct Flat;

impl<S, N> FormatEvent<S, N> for Flat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut said = Said(Map::new());
        event.record(&mut said);
        let Said(mut fields) = said;
        let metadata = event.metadata();
        // What came through the `log` crate has its origin in fields.
        let origin = fields.remove("log.target");
        fields.retain(|name, _| !name.starts_with("log."));
        let target = origin.as_ref().and_then(Value::as_str).unwrap_or(metadata.target());
        let message = fields.remove("message").unwrap_or_else(|| Value::String(String::new()));
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let Some(text) = extensions.get::<FormattedFields<N>>() else { continue };
            let Ok(outer) = serde_json::from_str::<Map<String, Value>>(text) else { continue };
            for (name, value) in outer {
                // Names that traces need; `reference` says it shorter.
                if name.starts_with("otel.") || name.starts_with("k8s.") {
                    continue;
                }
                let name = name.strip_prefix(OURS).unwrap_or(&name).to_owned();
                fields.entry(name).or_insert(value);
            }
        }
        let mut line = Vec::with_capacity(256);
        let mut serializer = serde_json::Serializer::new(&mut line);
        let mut write = || {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("timestamp", &jiff::Timestamp::now())?;
            map.serialize_entry("level", metadata.level().as_str())?;
            map.serialize_entry("target", target)?;
            map.serialize_entry("message", &message)?;
            for (name, value) in fields.iter().filter(|(name, _)| !ALWAYS.contains(&name.as_str())) {
                map.serialize_entry(name, value)?;
            }
            map.end()
        };
        let written: serde_json::Result<()> = write();
        written.map_err(|_| fmt::Error)?;
        writeln!(writer, "{}", str::from_utf8(&line).map_err(|_| fmt::Error)?)
    }
}

/// No field takes the place of these.
const ALWAYS: [&str; 4] = ["timestamp", "level", "target", "message"];

/// The fields of one line.
struct Said(Map<String, Value>);

impl Said {
    fn say(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        self.0.insert(name.strip_prefix(OURS).unwrap_or(name).to_owned(), value.into());
    }
}

impl Visit for Said {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.say(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.say(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.say(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.say(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.say(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.say(field, format!("{value:?}"));
    }
}

//! Traces: from what set a sync going to the write of the Secret.
//!
//! Each has a W3C trace id, which logs, audit events and Kubernetes Events carry as well, whether or not anybody collects
//! traces. Spans leave the process when an OTLP endpoint is set; otherwise nothing of it is made or started.

use std::{
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use opentelemetry::{
    Context, KeyValue,
    trace::{SpanBuilder, SpanKind, TraceContextExt, TraceId, Tracer},
};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Set once, when spans are collected.
pub(super) static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// What set work going, and everything that came of it.
#[derive(Clone, Debug)]
pub struct Trace {
    id: Arc<str>,
    /// Holds the first span, where spans are collected.
    context: Option<Context>,
}

impl Trace {
    /// Begins at `at` with what happened then, such as `watch SecretReference`; `within`: it came of another one's work.
    pub fn begin(cause: &'static str, at: SystemTime, within: Option<&Self>) -> Self {
        let Some(tracer) = TRACER.get() else {
            return Self { id: within.map_or_else(random, |whole| whole.id.clone()), context: None };
        };
        let parent = within.and_then(|whole| whole.context.clone()).unwrap_or_default();
        let first = SpanBuilder::from_name(cause)
            .with_kind(SpanKind::Internal)
            .with_start_time(at)
            .with_attributes([KeyValue::new("secretref.cause", cause)]);
        let context = parent.with_span(tracer.build_with_context(first, &parent));
        let id = context.span().span_context().trace_id();
        let id = if id == TraceId::INVALID { random() } else { id.to_string().into() };
        Self { id, context: Some(context) }
    }

    /// The id in the format of W3C trace context: 32 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Makes a span, which has not begun, part of it.
    #[must_use]
    pub fn adopt(&self, span: Span) -> Span {
        if let Some(context) = &self.context {
            // Refused only for a span that nobody collects.
            let _ = span.set_parent(context.clone());
        }
        span
    }

    /// What began it is over; what comes of it may go on.
    pub fn end(&self) {
        if let Some(context) = &self.context {
            context.span().end();
        }
    }
}

fn random() -> Arc<str> {
    format!("{:032x}", rand::random::<u128>().max(1)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_32_hex_digits_and_those_within_share_them() {
        let begin = |within| Trace::begin("poll", SystemTime::now(), within);
        let (a, b) = (begin(None), begin(None));
        assert_ne!(a.id(), b.id());
        assert!([&a, &b].iter().all(|t| t.id().len() == 32 && t.id().bytes().all(|c| c.is_ascii_hexdigit())));
        assert_eq!(begin(Some(&a)).id(), a.id(), "with no collector too, one cause has one id");
    }
}

//! Lines of the log as JSON: one flat object, in which what is known of the run stands beside what is said.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::context::trace_id;

/// Fields that say how a span is exported, and nothing to people.
const EXPORTED_AS: &str = "otel.";

/// `timestamp`, `level`, `target`, the event's fields, `trace_id`, and the fields of the spans around it. Of two fields of
/// one name the innermost stays.
#[derive(Debug)]
pub(super) struct Flat;

impl<S> FormatEvent<S, JsonFields> for Flat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        line.insert("timestamp".to_owned(), timestamp.into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.insert("target".to_owned(), event.metadata().target().into());
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
                add(&mut line, fields.as_str());
            }
        }
        if let Some(trace_id) = trace_id(&Span::current()) {
            line.insert("trace_id".to_owned(), trace_id.into());
        }
        let mut said = String::new();
        context
            .field_format()
            .format_fields(Writer::new(&mut said), event)?;
        add(&mut line, &said);
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// Adds the fields of a JSON object.
fn add(line: &mut Map<String, Value>, object: &str) {
    let fields: Map<String, Value> = serde_json::from_str(object).unwrap_or_default();
    line.extend(
        fields
            .into_iter()
            .filter(|(name, _)| !name.starts_with(EXPORTED_AS)),
    );
}

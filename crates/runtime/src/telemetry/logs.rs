//! Log lines: the event's message and fields, then the fields of the surrounding spans. As one flat JSON object, or as text.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{Event, Level, Span, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::context::trace_id;

/// Prefix of fields that only the span exporter uses.
const EXPORTER_FIELDS: &str = "otel.";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// `timestamp`, `level`, `target`, the event's fields, `trace_id` and the fields of the surrounding spans. If two fields have
/// the same name, the innermost wins.
#[derive(Debug)]
pub(super) struct JsonLines;

impl<S> FormatEvent<S, JsonFields> for JsonLines
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
        line.insert("timestamp".to_owned(), now()?.into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.insert("target".to_owned(), event.metadata().target().into());
        line.extend(span_fields(context));
        line.extend(event_fields(context, event)?);
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// `timestamp level message`, then the fields of the event and of the surrounding spans, and the trace id.
#[derive(Debug)]
pub(super) struct TextLines;

impl<S> FormatEvent<S, JsonFields> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (dim, plain) = if writer.has_ansi_escapes() {
            (DIM, PLAIN)
        } else {
            ("", "")
        };
        write!(writer, "{dim}{}{plain} ", now()?)?;
        level(&mut writer, *event.metadata().level())?;
        let mut fields = event_fields(context, event)?;
        if let Some(message) = fields.remove("message") {
            write!(writer, " {}", text(&message))?;
        }
        let mut around = span_fields(context);
        around.retain(|name, _| !fields.contains_key(name));
        for (name, value) in fields.iter().chain(&around) {
            write!(writer, " {dim}{name}={plain}{}", quoted(value))?;
        }
        writeln!(writer)
    }
}

fn now() -> Result<String, fmt::Error> {
    let mut timestamp = String::new();
    SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
    Ok(timestamp)
}

/// The fields of the spans around an event, and the trace id.
fn span_fields<S>(context: &FmtContext<'_, S, JsonFields>) -> Map<String, Value>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let mut known = Map::new();
    let spans = context.event_scope().into_iter();
    for span in spans.flat_map(|scope| scope.from_root()) {
        if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
            known.extend(object(fields.as_str()));
        }
    }
    known.retain(|name, _| !name.starts_with(EXPORTER_FIELDS));
    if let Some(trace_id) = trace_id(&Span::current()) {
        known.insert("trace_id".to_owned(), trace_id.into());
    }
    known
}

fn event_fields<S>(
    context: &FmtContext<'_, S, JsonFields>,
    event: &Event<'_>,
) -> Result<Map<String, Value>, fmt::Error>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let mut fields = String::new();
    context
        .field_format()
        .format_fields(Writer::new(&mut fields), event)?;
    Ok(object(&fields))
}

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

fn level(writer: &mut Writer<'_>, level: Level) -> fmt::Result {
    if !writer.has_ansi_escapes() {
        return write!(writer, "{level:>5}");
    }
    let colour = match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => DIM,
    };
    write!(writer, "{colour}{level:>5}{PLAIN}")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A single word as it is, any other value as JSON.
fn quoted(value: &Value) -> String {
    match value {
        Value::String(word)
            if !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c == '"') =>
        {
            word.clone()
        }
        other => other.to_string(),
    }
}

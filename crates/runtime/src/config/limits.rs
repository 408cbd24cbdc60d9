//! The allowed range of every duration, size and limit, checked before any is used.

use std::time::Duration;

use super::error::ConfigError;
use super::read::VARIABLES;

const MILLISECOND: u64 = 1;
const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// The allowed values of a setting.
#[derive(Debug, Clone, Copy)]
pub(super) enum Range {
    /// A whole number, both ends included.
    Count(i64, i64),
    /// A duration in milliseconds, both ends included.
    Span(u64, u64),
    /// A duration as in `Span`, or `0s`, which turns the function off.
    SpanOrOff(u64, u64),
}

/// The range of each setting by its path; `*` stands for the name of a source.
pub(super) const LIMITS: [(&[&str], Range); 21] = [
    (&["database_max_connections"], Range::Count(1, 1000)),
    (&["sources", "*", "max_connections"], Range::Count(1, 1000)),
    // PostgreSQL takes milliseconds in 32 bits, and reads 0 as no limit
    (
        &["sources", "*", "statement_timeout"],
        Range::Span(100 * MILLISECOND, DAY),
    ),
    (&["sources", "*", "max_in_flight"], Range::Count(1, 100_000)),
    (&["worker", "concurrency"], Range::Count(1, 256)),
    // renewed three times in that time: a shorter lease would be lost to any slow answer of the ledger
    (&["worker", "lease"], Range::Span(SECOND, HOUR)),
    (&["worker", "shutdown_grace"], Range::Span(0, HOUR)),
    (&["producer", "tick"], Range::Span(10 * MILLISECOND, DAY)),
    (
        &["producer", "fence_interval"],
        Range::Span(100 * MILLISECOND, HOUR),
    ),
    (&["producer", "fence_wait"], Range::Span(0, HOUR)),
    (&["producer", "safety_lag"], Range::Span(0, 30 * DAY)),
    (&["producer", "message_edit_window"], Range::Span(0, 3650 * DAY)),
    (&["producer", "digest_interval"], Range::Span(0, 365 * DAY)),
    (&["producer", "max_in_flight"], Range::Count(1, 100_000)),
    (&["producer", "requeue_after"], Range::Span(SECOND, DAY)),
    (&["producer", "max_lost"], Range::Count(1, 1000)),
    // done chunks record what was read when, and a load that began earlier must still find them
    (&["retention", "success"], Range::Span(DAY, 36_500 * DAY)),
    (&["retention", "failed"], Range::Span(DAY, 36_500 * DAY)),
    (&["retention", "audit"], Range::Span(DAY, 36_500 * DAY)),
    (&["retention", "changes"], Range::Span(DAY, 36_500 * DAY)),
    (&["retention", "prune_every"], Range::SpanOrOff(SECOND, 365 * DAY)),
];

/// Checks every setting of the table. The error names the setting, its value and its range.
pub(super) fn check(table: &toml::Table) -> Result<(), ConfigError> {
    for (path, range) in LIMITS {
        check_below(table, path, range, &mut Vec::new())?;
    }
    Ok(())
}

fn check_below<'a>(
    table: &'a toml::Table,
    path: &[&str],
    range: Range,
    above: &mut Vec<&'a str>,
) -> Result<(), ConfigError> {
    let [step, below @ ..] = path else {
        return Ok(());
    };
    for (name, value) in table.iter().filter(|(name, _)| *step == "*" || step == name) {
        above.push(name);
        match value {
            toml::Value::Table(inner) => check_below(inner, below, range, above)?,
            value if below.is_empty() => range.check(value).map_err(|wrong| out_of_range(above, &wrong))?,
            // a value in place of a table: reading the settings reports it
            _ => {}
        }
        above.pop();
    }
    Ok(())
}

fn out_of_range(path: &[&str], wrong: &str) -> ConfigError {
    // the file may contain anything as the name of a source, even a URL
    let shown: Vec<&str> = path
        .iter()
        .map(|step| if step.contains("://") { "a URL" } else { step })
        .collect();
    let variable = VARIABLES
        .iter()
        .find(|(name, of)| !name.ends_with("_FILE") && *of == path)
        .map(|(name, _)| format!(" ({name})"))
        .unwrap_or_default();
    ConfigError::Value(format!("{}{variable} {wrong}", shown.join(".")))
}

impl Range {
    fn check(self, value: &toml::Value) -> Result<(), String> {
        let allowed = match self {
            Self::Count(least, most) => {
                if value
                    .as_integer()
                    .is_some_and(|count| (least..=most).contains(&count))
                {
                    return Ok(());
                }
                format!("a whole number from {least} to {most} is allowed")
            }
            Self::Span(least, most) | Self::SpanOrOff(least, most) => {
                let off = if matches!(self, Self::SpanOrOff(..)) {
                    ", or 0s for never,"
                } else {
                    ""
                };
                let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
                let span = value
                    .as_str()
                    .and_then(|text| humantime::parse_duration(text).ok());
                let is_off = !off.is_empty() && span.is_some_and(|span| span.is_zero());
                if is_off || span.is_some_and(|span| (least..=most).contains(&span)) {
                    return Ok(());
                }
                format!(
                    "a duration with its unit from {} to {}{off} is allowed",
                    readable(least),
                    readable(most)
                )
            }
        };
        Err(format!("is {}: {allowed}", shown(value)))
    }
}

/// A limit as a user writes it: `365days`, not `11months 30days 1h …`.
pub(super) fn readable(span: Duration) -> String {
    const DAY_SECS: u64 = DAY / SECOND;
    match span.as_secs() / DAY_SECS {
        days @ 2.. if span.as_secs().is_multiple_of(DAY_SECS) => format!("{days}days"),
        _ => humantime::format_duration(span).to_string(),
    }
}

/// A value as an error may quote it: a URL may contain a password.
fn shown(value: &toml::Value) -> String {
    const LONGEST: usize = 40;
    match value {
        toml::Value::String(text) if text.contains("://") => "a URL".to_owned(),
        toml::Value::String(text) if text.chars().count() > LONGEST => "a long text".to_owned(),
        toml::Value::String(text) => format!("`{text}`"),
        toml::Value::Integer(number) => number.to_string(),
        other => format!("a value of type {}", other.type_str()),
    }
}

/// Parses a flag's duration, which must be within these limits, both included. The error names the range.
pub fn duration_within(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let allowed = || {
        format!(
            "a duration with its unit from {} to {} is allowed",
            readable(least),
            readable(most)
        )
    };
    let span = humantime::parse_duration(text).map_err(|error| format!("{error}: {}", allowed()))?;
    if (least..=most).contains(&span) {
        Ok(span)
    } else {
        Err(allowed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    /// The settings with this value from the environment, if the setting has a variable.
    fn from_environment(path: &[&str], value: &str) -> Option<Result<Settings, ConfigError>> {
        let of_main: Vec<&str> = path
            .iter()
            .map(|step| if *step == "*" { "main" } else { step })
            .collect();
        let (variable, _) = VARIABLES.iter().find(|(_, of)| *of == of_main)?;
        Some(Settings::load_with(None, |name| {
            (name == *variable).then(|| value.to_owned())
        }))
    }

    fn from_file(path: &[&str], value: &str) -> Result<Settings, ConfigError> {
        let path: Vec<&str> = path
            .iter()
            .map(|step| if *step == "*" { "second" } else { step })
            .collect();
        let file = std::env::temp_dir().join(format!("tidemark-limits-{:016x}", rand::random::<u64>()));
        std::fs::write(&file, format!("{} = {value}\n", path.join("."))).unwrap();
        let loaded = Settings::load_with(Some(&file), |_| None);
        std::fs::remove_file(file).unwrap();
        loaded
    }

    /// Values outside the setting's range, and both ends of the range.
    fn edges(range: Range) -> (Vec<String>, [String; 2]) {
        let span = |ms: u64| format!("{ms}ms");
        match range {
            Range::Count(least, most) => (
                [least - 1, -1, most + 1, i64::MAX, i64::MIN]
                    .map(|count| count.to_string())
                    .to_vec(),
                [least.to_string(), most.to_string()],
            ),
            Range::Span(least, most) | Range::SpanOrOff(least, most) => {
                let mut refused = vec![
                    "-5s".to_owned(),
                    "5".to_owned(),
                    "soon".to_owned(),
                    span(most + 1),
                    "18446744073709551615s".to_owned(),
                    "99999999999999999999999s".to_owned(),
                ];
                if least > 1 && matches!(range, Range::Span(..)) {
                    refused.push("0s".to_owned());
                }
                if least > 1 {
                    refused.push(span(least - 1));
                }
                (refused, [span(least), span(most)])
            }
        }
    }

    #[test]
    fn every_duration_size_and_limit_is_bounded_in_file_and_environment() {
        for (path, range) in LIMITS {
            let is_count = matches!(range, Range::Count(..));
            let in_file = |value: &str| {
                if is_count {
                    value.to_owned()
                } else {
                    format!("{value:?}")
                }
            };
            let (refused, taken) = edges(range);
            for value in refused {
                let of_file = from_file(path, &in_file(&value));
                for loaded in from_environment(path, &value).into_iter().chain([of_file]) {
                    let error = loaded.expect_err(&format!("{path:?} = {value}")).to_string();
                    for expected in [path[path.len() - 1], value.as_str(), "is allowed", " to "] {
                        assert!(error.contains(expected), "{path:?} = {value}: {error}");
                    }
                }
            }
            for value in taken {
                let of_file = from_file(path, &in_file(&value));
                for loaded in from_environment(path, &value).into_iter().chain([of_file]) {
                    assert!(loaded.is_ok(), "{path:?} = {value}: {loaded:?}");
                }
            }
        }
    }

    #[test]
    fn zero_turns_pruning_off() {
        for value in ["0s", "0ms"] {
            let never = from_file(&["retention", "prune_every"], &format!("{value:?}")).unwrap();
            assert!(never.retention.prune_every.is_zero());
        }
    }

    /// Every new duration or number needs a range in [`LIMITS`].
    #[test]
    fn every_number_and_duration_has_a_range() {
        let mut bounded: Vec<String> = LIMITS.iter().map(|(path, _)| path.join(".")).collect();
        bounded.sort();
        let mut named: Vec<String> = VARIABLES
            .iter()
            .map(|(_, path)| path.join(".").replace("sources.main", "sources.*"))
            .filter(|name| !TEXTS.contains(&name.as_str()))
            .collect();
        named.sort();
        named.dedup();
        assert_eq!(bounded, named);
    }

    /// Settings that are neither numbers nor durations.
    const TEXTS: [&str; 26] = [
        "database_url",
        "database_pooler",
        "amqp_url",
        "amqp_prefix",
        "amqp_management_url",
        "http_listen",
        "metrics_per_tenant",
        "log_format",
        "trace_url",
        "legacy_url",
        "privacy_key",
        "webhook_key",
        "webhook_console_url",
        "sources.*.url",
        "sources.*.mode",
        "sources.*.view",
        "sources.*.schema",
        "console.listen",
        "console.auth",
        "console.proxy_header",
        "console.proxy_peers",
        "console.path_prefix",
        "console.read_only",
        "console.sources",
        "console.insecure_cookie",
        "console.tenant_database_url",
    ];
}

//! The sources of settings, file and environment, merged into one table.

use std::path::Path;

use super::error::ConfigError;

/// Environment variables and the paths of their settings. A name that ends with `_FILE` names a file with the value.
pub(super) const VARIABLES: [(&str, &[&str]); 55] = [
    ("TIDEMARK_DATABASE_URL", &["database_url"]),
    ("TIDEMARK_DATABASE_MAX_CONNECTIONS", &["database_max_connections"]),
    ("TIDEMARK_DATABASE_POOLER", &["database_pooler"]),
    ("TIDEMARK_AMQP_URL", &["amqp_url"]),
    ("TIDEMARK_AMQP_PREFIX", &["amqp_prefix"]),
    ("TIDEMARK_HTTP_LISTEN", &["http_listen"]),
    ("TIDEMARK_METRICS_PER_TENANT", &["metrics_per_tenant"]),
    ("TIDEMARK_LOG_FORMAT", &["log_format"]),
    ("TIDEMARK_TRACE_URL", &["trace_url"]),
    ("TIDEMARK_SOURCE_URL", &["sources", "main", "url"]),
    ("TIDEMARK_SOURCE_MODE", &["sources", "main", "mode"]),
    ("TIDEMARK_SOURCE_VIEW", &["sources", "main", "view"]),
    ("TIDEMARK_SOURCE_SCHEMA", &["sources", "main", "schema"]),
    (
        "TIDEMARK_SOURCE_MAX_CONNECTIONS",
        &["sources", "main", "max_connections"],
    ),
    (
        "TIDEMARK_SOURCE_STATEMENT_TIMEOUT",
        &["sources", "main", "statement_timeout"],
    ),
    (
        "TIDEMARK_SOURCE_MAX_IN_FLIGHT",
        &["sources", "main", "max_in_flight"],
    ),
    ("TIDEMARK_WORKER_CONCURRENCY", &["worker", "concurrency"]),
    ("TIDEMARK_WORKER_LEASE", &["worker", "lease"]),
    ("TIDEMARK_WORKER_SHUTDOWN_GRACE", &["worker", "shutdown_grace"]),
    ("TIDEMARK_PRODUCER_TICK", &["producer", "tick"]),
    (
        "TIDEMARK_PRODUCER_FENCE_INTERVAL",
        &["producer", "fence_interval"],
    ),
    ("TIDEMARK_PRODUCER_FENCE_WAIT", &["producer", "fence_wait"]),
    ("TIDEMARK_PRODUCER_SAFETY_LAG", &["producer", "safety_lag"]),
    (
        "TIDEMARK_PRODUCER_MESSAGE_EDIT_WINDOW",
        &["producer", "message_edit_window"],
    ),
    (
        "TIDEMARK_PRODUCER_DIGEST_INTERVAL",
        &["producer", "digest_interval"],
    ),
    ("TIDEMARK_PRODUCER_MAX_IN_FLIGHT", &["producer", "max_in_flight"]),
    ("TIDEMARK_PRODUCER_REQUEUE_AFTER", &["producer", "requeue_after"]),
    ("TIDEMARK_PRODUCER_MAX_LOST", &["producer", "max_lost"]),
    ("TIDEMARK_RETENTION_SUCCESS", &["retention", "success"]),
    ("TIDEMARK_RETENTION_FAILED", &["retention", "failed"]),
    ("TIDEMARK_RETENTION_AUDIT", &["retention", "audit"]),
    ("TIDEMARK_RETENTION_CHANGES", &["retention", "changes"]),
    ("TIDEMARK_RETENTION_PRUNE_EVERY", &["retention", "prune_every"]),
    ("TIDEMARK_CONSOLE_LISTEN", &["console", "listen"]),
    ("TIDEMARK_CONSOLE_AUTH", &["console", "auth"]),
    ("TIDEMARK_CONSOLE_PROXY_HEADER", &["console", "proxy_header"]),
    ("TIDEMARK_CONSOLE_PROXY_PEERS", &["console", "proxy_peers"]),
    ("TIDEMARK_CONSOLE_PATH_PREFIX", &["console", "path_prefix"]),
    ("TIDEMARK_CONSOLE_READ_ONLY", &["console", "read_only"]),
    ("TIDEMARK_CONSOLE_SOURCES", &["console", "sources"]),
    (
        "TIDEMARK_CONSOLE_INSECURE_COOKIE",
        &["console", "insecure_cookie"],
    ),
    (
        "TIDEMARK_CONSOLE_TENANT_DATABASE_URL",
        &["console", "tenant_database_url"],
    ),
    (
        "TIDEMARK_CONSOLE_TENANT_DATABASE_URL_FILE",
        &["console", "tenant_database_url"],
    ),
    ("TIDEMARK_PRIVACY_KEY", &["privacy_key"]),
    ("TIDEMARK_PRIVACY_KEY_FILE", &["privacy_key"]),
    ("TIDEMARK_WEBHOOK_KEY", &["webhook_key"]),
    ("TIDEMARK_WEBHOOK_KEY_FILE", &["webhook_key"]),
    ("TIDEMARK_WEBHOOK_CONSOLE_URL", &["webhook_console_url"]),
    ("TIDEMARK_AMQP_MANAGEMENT_URL", &["amqp_management_url"]),
    ("TIDEMARK_AMQP_MANAGEMENT_URL_FILE", &["amqp_management_url"]),
    ("TIDEMARK_LEGACY_URL", &["legacy_url"]),
    ("TIDEMARK_LEGACY_URL_FILE", &["legacy_url"]),
    ("TIDEMARK_DATABASE_URL_FILE", &["database_url"]),
    ("TIDEMARK_AMQP_URL_FILE", &["amqp_url"]),
    ("TIDEMARK_SOURCE_URL_FILE", &["sources", "main", "url"]),
];

/// Removes a URL from a parser's message. The parser quotes a URL in the wrong place together with its password.
pub(super) fn without_url(message: &str) -> String {
    const QUOTES: [char; 2] = ['"', '`'];
    let (Some(start), Some(end)) = (message.find(QUOTES), message.rfind(QUOTES)) else {
        return message.to_owned();
    };
    if message.contains("://") {
        format!("{}a URL{}", &message[..start], &message[end + 1..])
    } else {
        message.to_owned()
    }
}

pub(super) fn read_table(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    // only the message: the error's Display quotes the line, which may contain a secret
    text.parse()
        .map_err(|error: toml::de::Error| ConfigError::Syntax {
            path: path.to_owned(),
            message: without_url(error.message()),
        })
}

/// Whether a settings file contains secrets.
pub(super) fn holds_secret(table: &toml::Table) -> bool {
    const SECRETS: [&str; 8] = [
        "database_url",
        "tenant_database_url",
        "amqp_url",
        "amqp_management_url",
        "legacy_url",
        "privacy_key",
        "webhook_key",
        "url",
    ];
    table.iter().any(|(name, value)| match value {
        toml::Value::Table(inner) => holds_secret(inner),
        _ => SECRETS.contains(&name.as_str()),
    })
}

/// A variable's value as TOML. Numbers and booleans are recognized, except for settings that are texts.
pub(super) fn scalar(path: &[&str], raw: String) -> toml::Value {
    const TEXTS: [&str; 18] = [
        "database_url",
        "tenant_database_url",
        "amqp_management_url",
        "legacy_url",
        "amqp_url",
        "amqp_prefix",
        "privacy_key",
        "webhook_key",
        "webhook_console_url",
        "http_listen",
        "url",
        "mode",
        "view",
        "listen",
        "auth",
        "proxy_header",
        "proxy_peers",
        "path_prefix",
    ];
    if path.last().is_some_and(|key| TEXTS.contains(key)) {
        return toml::Value::String(raw);
    }
    match (raw.parse(), raw.parse()) {
        (Ok(number), _) => toml::Value::Integer(number),
        (_, Ok(boolean)) => toml::Value::Boolean(boolean),
        _ => toml::Value::String(raw),
    }
}

pub(super) fn set(table: &mut toml::Table, path: &[&str], value: toml::Value) {
    match path {
        [] => {}
        [key] => {
            table.insert((*key).to_owned(), value);
        }
        [key, rest @ ..] => {
            let entry = table
                .entry((*key).to_owned())
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(inner) = entry {
                set(inner, rest, value);
            }
        }
    }
}

//! What each setting means, with its default: for the page of settings, and for the file that `tidemark init` writes.

use std::time::Duration;

use super::limits::{LIMITS, Range, readable};
use super::{
    ConsoleSettings, ProducerSettings, RetentionSettings, Settings, SourceMode, SourceSettings,
    WorkerSettings,
};

/// The setting's path as in [`LIMITS`], its default, its meaning.
pub(super) type Entry = (&'static str, String, &'static str);

pub(super) fn entries() -> Vec<Entry> {
    let mut entries = process();
    entries.extend(source());
    entries.extend(worker());
    entries.extend(producer());
    entries.extend(retention());
    entries.extend(console());
    entries
}

fn process() -> Vec<Entry> {
    let defaults = Settings::default();
    assert!(defaults.http_listen.is_none() && defaults.log_format.is_none() && !defaults.metrics_per_tenant);
    let none = String::new;
    vec![
        (
            "database_url",
            none(),
            "URL of the analytics database: ledger and target. It may name several hosts. Flag `--database-url`",
        ),
        (
            "database_max_connections",
            defaults.database_max_connections.to_string(),
            "Connections of one process to the analytics database. A worker takes at least 2 × concurrency + 8",
        ),
        (
            "database_pooler",
            format!("{:?}", defaults.database_pooler).to_lowercase(),
            "`none`, or `transaction` where PgBouncer or another pooler stands before the analytics database: \
             see [scaling](scaling.md#pgbouncer-in-transaction-mode)",
        ),
        (
            "amqp_url",
            none(),
            "URL of RabbitMQ. For a cluster, the URLs of its nodes with commas between. Flag `--amqp-url`",
        ),
        (
            "amqp_management_url",
            none(),
            "URL of RabbitMQ's HTTP API, which only `doctor` uses. Default: port 15672 (15671 with TLS) of the broker",
        ),
        (
            "amqp_prefix",
            defaults.amqp_prefix,
            "First part of the names of queues and exchanges, at most 200 bytes",
        ),
        (
            "privacy_key",
            none(),
            "Key for hashed columns: 32 characters or more (`openssl rand -hex 32`). Workers and `verify` need it \
             where a tenant's policy has `hash`",
        ),
        (
            "webhook_key",
            none(),
            "Key for signatures of webhooks: 32 characters or more (`openssl rand -hex 32`). Finalizers and \
             `webhook add` need it",
        ),
        (
            "webhook_console_url",
            none(),
            "Address of the console, for links in messages of webhooks: `https://tidemark.example.com`",
        ),
        (
            "http_listen",
            "127.0.0.1:9464".to_owned(),
            "Address with port for health and metrics, or `off`",
        ),
        (
            "metrics_per_tenant",
            defaults.metrics_per_tenant.to_string(),
            "Whether the finalizer exports a series for each tenant",
        ),
        (
            "log_format",
            none(),
            "`pretty` or `json`. Default: `pretty` on a terminal and from commands, `json` otherwise",
        ),
        (
            "trace_url",
            none(),
            "Address that shows a trace, with `{trace_id}` in it: `http://jaeger:16686/trace/{trace_id}`",
        ),
        (
            "legacy_url",
            none(),
            "URL of the Python script's database, for `import-legacy`. Flag `--from`",
        ),
    ]
}

fn source() -> Vec<Entry> {
    let defaults = SourceSettings::default();
    assert!(matches!(defaults.mode, SourceMode::Tables));
    vec![
        (
            "sources.*.url",
            String::new(),
            "URL of the Chatwoot database. It may name several hosts. Flag `--source-url`",
        ),
        (
            "sources.*.mode",
            "tables".to_owned(),
            "`tables` reads Chatwoot's tables, `view` reads only the view that `sources.*.view` names",
        ),
        (
            "sources.*.view",
            String::new(),
            "Name of the view, with or without its schema. Needed with `view`",
        ),
        (
            "sources.*.schema",
            String::new(),
            "Schema of Chatwoot's tables, or of the view. Default: where the login's `search_path` finds them",
        ),
        (
            "sources.*.max_connections",
            defaults.max_connections.to_string(),
            "Connections of one process to this source",
        ),
        (
            "sources.*.statement_timeout",
            readable(defaults.statement_timeout),
            "Longest time of one statement on this source",
        ),
        (
            "sources.*.max_in_flight",
            defaults.max_in_flight.to_string(),
            "Chunks of this source that are queued or running at once, in the whole fleet",
        ),
    ]
}

fn worker() -> Vec<Entry> {
    let defaults = WorkerSettings::default();
    vec![
        (
            "worker.concurrency",
            defaults.concurrency.to_string(),
            "Chunks of one lane that a process reads at once. Flags `worker --concurrency`, `up --workers`",
        ),
        (
            "worker.lease",
            readable(defaults.lease),
            "Time after which an unrenewed claim of a chunk ends. A worker renews it three times in that time",
        ),
        (
            "worker.shutdown_grace",
            readable(defaults.shutdown_grace),
            "Time that work may go on after the first SIGTERM",
        ),
    ]
}

fn producer() -> Vec<Entry> {
    let defaults = ProducerSettings::default();
    vec![
        (
            "producer.tick",
            readable(defaults.tick),
            "Pause between two polls of the ledger, also in the finalizer",
        ),
        (
            "producer.fence_interval",
            readable(defaults.fence_interval),
            "Pause between two samples of a source's fence",
        ),
        (
            "producer.fence_wait",
            readable(defaults.fence_wait),
            "Time that a plan waits for its own sample to qualify when no older sample does",
        ),
        (
            "producer.safety_lag",
            readable(defaults.safety_lag),
            "The watermark stays at least this far behind the source's clock",
        ),
        (
            "producer.message_edit_window",
            readable(defaults.message_edit_window),
            "Age of messages whose edits an incremental run looks for, where `messages` is larger than 256 MiB and \
             has no index on `updated_at`",
        ),
        (
            "producer.digest_interval",
            readable(defaults.digest_interval),
            "Time for which a comparison of digests holds, through a view also one of names: see \
             [scaling](scaling.md#large-sources). `0s`: every plan compares",
        ),
        (
            "producer.max_in_flight",
            defaults.max_in_flight.to_string(),
            "Chunks that are queued or running at once, in the whole fleet",
        ),
        (
            "producer.requeue_after",
            readable(defaults.requeue_after),
            "Time after which a published chunk that no worker has claimed is published again",
        ),
        (
            "producer.max_lost",
            defaults.max_lost.to_string(),
            "Leases that a chunk may lose before it is dead",
        ),
    ]
}

fn retention() -> Vec<Entry> {
    let defaults = RetentionSettings::default();
    vec![
        (
            "retention.success",
            readable(defaults.success),
            "Time for which successful runs are kept, with their chunks",
        ),
        (
            "retention.failed",
            readable(defaults.failed),
            "Time for which other ended runs, resolved rejects and ended messages of webhooks are kept",
        ),
        (
            "retention.audit",
            readable(defaults.audit),
            "Time for which moves of watermarks and actions of operators are kept",
        ),
        (
            "retention.changes",
            readable(defaults.changes),
            "Time for which the feed of changed conversations is kept. A reader that is further behind is told to start again",
        ),
        (
            "retention.prune_every",
            readable(defaults.prune_every),
            "Pause between two removals of older entries by a finalizer. `0s`: no removals",
        ),
    ]
}

fn console() -> Vec<Entry> {
    let defaults = ConsoleSettings::default();
    let none = String::new;
    vec![
        (
            "console.listen",
            "127.0.0.1:9480".to_owned(),
            "Address with port for the console's pages, or `off`, with which `up` starts without them",
        ),
        (
            "console.auth",
            defaults.auth.as_str().to_owned(),
            "`off` on a loopback address only, `password` for users of `tidemark console user`, or `proxy` for users that a \
             proxy names: see [the console](console.md#who-may-sign-in)",
        ),
        (
            "console.proxy_header",
            defaults.proxy_header,
            "With `proxy`: the header with the user's name",
        ),
        (
            "console.proxy_peers",
            none(),
            "With `proxy`: addresses or networks of the proxies, with commas between. The header of another peer is refused",
        ),
        (
            "console.path_prefix",
            none(),
            "First part of every path, such as `/tidemark`, for a console behind a proxy with other pages",
        ),
        (
            "console.read_only",
            defaults.read_only.to_string(),
            "Whether the console refuses every change",
        ),
        (
            "console.sources",
            defaults.sources.to_string(),
            "Whether the console may open sessions on sources: for `why`, plans, `doctor` and comparisons",
        ),
        (
            "console.insecure_cookie",
            defaults.insecure_cookie.to_string(),
            "Whether the session's cookie is sent over plain HTTP, for a console inside a VPN without TLS",
        ),
        (
            "console.tenant_database_url",
            none(),
            "Analytics database for [tenants' pages](tenant-page.md), with a login that is a member of `authenticated_users` \
             alone. Empty: `up` uses the login of `database_url` as that role, and `console` shows no tenant's page",
        ),
    ]
}

/// `100000` as `100,000`.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The allowed range of a setting in words; empty where every value is possible.
pub(super) fn allowed(setting: &str) -> String {
    let limit = LIMITS.iter().find(|(path, _)| path.join(".") == setting);
    limit.map(|(_, range)| in_words(*range)).unwrap_or_default()
}

fn in_words(range: Range) -> String {
    let span = |milliseconds| readable(Duration::from_millis(milliseconds));
    match range {
        Range::Count(least, most) => format!("{} to {}", grouped(least), grouped(most)),
        Range::Span(least, most) => format!("`{}` to `{}`", span(least), span(most)),
        Range::SpanOrOff(least, most) => format!("`0s`, or `{}` to `{}`", span(least), span(most)),
    }
}

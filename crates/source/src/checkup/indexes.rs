//! Indexes that would help, and statistics that the planner goes by. Both matter on large tables only.

use sqlx::{FromRow, PgConnection};

use super::{KnownState, LARGE, Source, relation};
use crate::digest::CHANGED_AT;
use tidemark_postgres::report::report;
use tidemark_runtime::finding::{Finding, bytes};

/// A column, or an expression, that things are looked up by, and what for.
struct Wanted {
    table: &'static str,
    columns: &'static [&'static str],
    why: &'static str,
    /// From which size of the table on.
    from: i64,
}

/// Scanning so much at each plan is what an index on a time saves.
const VERY_LARGE: i64 = 256 << 20;

const WANTED: [Wanted; 7] = [
    Wanted {
        table: "conversations",
        columns: &["inbox_id", "id"],
        why: "each plan goes through all conversations of all tenants instead of one tenant's",
        from: LARGE,
    },
    Wanted {
        table: "conversations",
        columns: &["contact_id"],
        why: "each changed contact costs a scan of all conversations",
        from: LARGE,
    },
    Wanted {
        table: "messages",
        columns: &["conversation_id"],
        why: "each chunk goes through all messages",
        from: LARGE,
    },
    Wanted {
        table: "messages",
        columns: &["created_at"],
        why: "each plan goes through all messages",
        from: LARGE,
    },
    Wanted {
        table: "messages",
        columns: &["updated_at"],
        why: "edits of messages older than producer.message_edit_window are found by verify and full runs only",
        from: VERY_LARGE,
    },
    Wanted {
        table: "csat_survey_responses",
        columns: &["conversation_id"],
        why: "each chunk goes through all satisfaction answers",
        from: LARGE,
    },
    Wanted {
        table: "contacts",
        columns: &["updated_at"],
        why: "each plan goes through all contacts",
        from: VERY_LARGE,
    },
];

/// Helps plans that compare no digests; any other reads all of a tenant's conversations anyhow.
const BETWEEN_COMPARISONS: Wanted = Wanted {
    table: "conversations",
    columns: &[CHANGED_AT],
    why: "each plan goes through all conversations, also when it compares no digests (producer.digest_interval)",
    from: LARGE,
};

/// An index that begins with the column, usable or not.
#[derive(Debug, FromRow)]
struct Index {
    /// As SQL text, with its schema.
    name: String,
    is_usable: bool,
}

/// How fresh what the planner knows of a table is.
#[derive(Debug, FromRow)]
struct Freshness {
    size: i64,
    was_analyzed: bool,
    changed: i64,
    live: i64,
}

impl Source {
    pub(super) async fn check_indexes(
        &self,
        connection: &mut PgConnection,
        known: KnownState,
        findings: &mut Vec<Finding>,
    ) {
        let mut missing = 0;
        let of_tables = self.view().is_none();
        let between = (of_tables && !known.digests_every_plan).then_some(&BETWEEN_COMPARISONS);
        for wanted in WANTED.iter().chain(between) {
            match self.check_index(connection, wanted).await {
                Ok(None) => {}
                Ok(Some(finding)) => {
                    missing += 1;
                    findings.push(finding);
                }
                Err(error) => {
                    findings.push(Finding::not_checked("index", report(&error)));
                    return;
                }
            }
        }
        if missing == 0 {
            findings.push(Finding::ok(
                "index",
                "no index is missing that a table of its size would need",
            ));
        }
    }

    async fn check_index(
        &self,
        connection: &mut PgConnection,
        wanted: &Wanted,
    ) -> Result<Option<Finding>, sqlx::Error> {
        let Some(size) = self.large_size(connection, &relation(wanted.table)).await? else {
            return Ok(None);
        };
        if size < wanted.from {
            return Ok(None);
        }
        // whole, and with just this first; only such a one serves every question
        let found: Vec<Index> = sqlx::query_as(
            "SELECT i.indexrelid::regclass::text AS name, i.indisvalid AND i.indisready AND i.indislive AS is_usable \
             FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam \
             WHERE i.indrelid = to_regclass(quote_ident($1)) AND m.amname = 'btree' \
               AND lower(pg_get_indexdef(i.indexrelid, 1, true)) = $2 \
               AND i.indpred IS NULL ORDER BY 1",
        )
        .bind(wanted.table)
        .bind(wanted.columns[0])
        .fetch_all(connection)
        .await?;
        if found.iter().any(|index| index.is_usable) {
            return Ok(None);
        }
        let columns = wanted.columns.join(", ");
        let mut finding = Finding::warning(
            "index",
            match found.first() {
                None => format!(
                    "{} ({}) has no index on {columns}: {}",
                    wanted.table,
                    bytes(size),
                    wanted.why
                ),
                Some(index) => format!(
                    "{} ({}) has an index on {columns} that is not valid, {}: making it has failed or is under way; {}",
                    wanted.table,
                    bytes(size),
                    index.name,
                    wanted.why
                ),
            },
        );
        for index in &found {
            finding = finding.todo(format!("DROP INDEX CONCURRENTLY {};", index.name));
        }
        Ok(Some(finding.todo(format!(
            "CREATE INDEX CONCURRENTLY ON {} ({columns});",
            wanted.table
        ))))
    }

    /// A planner that thinks a large table small plans for a small one. A standby does not tell when its primary last looked.
    pub(super) async fn check_statistics(
        &self,
        connection: &mut PgConnection,
        is_standby: bool,
        findings: &mut Vec<Finding>,
    ) {
        for table in ["conversations", "messages", "contacts", "csat_survey_responses"] {
            let fresh: Result<Option<Freshness>, _> = sqlx::query_as(
                "SELECT pg_relation_size(c.oid) AS size, c.reltuples > 0 AS was_analyzed, \
                        coalesce(s.n_mod_since_analyze, 0) AS changed, coalesce(s.n_live_tup, 0) AS live \
                 FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid \
                 WHERE c.oid = to_regclass(quote_ident($1)) AND c.relkind = 'r'",
            )
            .bind(table)
            .fetch_optional(&mut *connection)
            .await;
            let fresh = match fresh {
                Ok(Some(fresh)) => fresh,
                Ok(None) => continue,
                Err(error) => {
                    findings.push(Finding::not_checked("statistics", report(&error)));
                    return;
                }
            };
            if fresh.size < LARGE {
                continue;
            }
            let what = if !fresh.was_analyzed {
                "was never analyzed"
            } else if !is_standby && fresh.changed > fresh.live / 2 {
                "has changed by more than half since it was analyzed"
            } else {
                continue;
            };
            findings.push(
                Finding::warning(
                    "statistics",
                    format!(
                        "{table} ({}) {what}: queries are planned for a table that it is not",
                        bytes(fresh.size)
                    ),
                )
                .todo(format!("ANALYZE {table};")),
            );
        }
    }
}

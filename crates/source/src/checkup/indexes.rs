//! Missing indexes and stale planner statistics. Both matter on large tables only.

use sqlx::{FromRow, PgConnection};

use super::{KnownState, LARGE, Source, relation};
use crate::shape::Shape;
use tidemark_postgres::report::report;
use tidemark_runtime::finding::{Check, Finding, IndexReason, Scanned, SourceFound};

/// An index that Tidemark's queries need.
struct WantedIndex<'a> {
    table: &'static str,
    /// Columns or expressions, in order.
    columns: &'a [&'a str],
    /// The cost without the index.
    why: IndexReason,
    /// Table size in bytes from which on the index is worth its cost.
    min_table_size: i64,
}

/// Table size from which on every plan needs an index on a time column.
const VERY_LARGE: i64 = 256 << 20;

const WANTED: [WantedIndex<'_>; 15] = [
    WantedIndex {
        table: "conversations",
        columns: &["inbox_id", "id"],
        why: IndexReason::PlanScansAllTenants,
        min_table_size: LARGE,
    },
    WantedIndex {
        table: "conversations",
        columns: &["contact_id"],
        why: IndexReason::ContactScans,
        min_table_size: LARGE,
    },
    WantedIndex {
        table: "messages",
        columns: &["conversation_id"],
        why: IndexReason::ChunkScans(Scanned::Messages),
        min_table_size: LARGE,
    },
    WantedIndex {
        table: "messages",
        columns: &["created_at"],
        why: IndexReason::PlanScans(Scanned::Messages),
        min_table_size: LARGE,
    },
    WantedIndex {
        table: "messages",
        columns: &["updated_at"],
        why: IndexReason::OldEdits,
        min_table_size: VERY_LARGE,
    },
    WantedIndex {
        table: "csat_survey_responses",
        columns: &["conversation_id"],
        why: IndexReason::ChunkScans(Scanned::Answers),
        min_table_size: LARGE,
    },
    WantedIndex {
        table: "reporting_events",
        columns: &["conversation_id"],
        why: IndexReason::ChunkScans(Scanned::Events),
        min_table_size: LARGE,
    },
    WantedIndex {
        table: "reporting_events",
        columns: &["created_at"],
        why: IndexReason::PlanScans(Scanned::Events),
        min_table_size: LARGE,
    },
    WantedIndex {
        table: "attachments",
        columns: &["message_id"],
        why: IndexReason::ChunkScans(Scanned::Attachments),
        min_table_size: LARGE,
    },
    WantedIndex {
        table: "conversation_participants",
        columns: &["conversation_id"],
        why: IndexReason::ChunkScans(Scanned::Participants),
        min_table_size: LARGE,
    },
    WantedIndex {
        table: "conversation_participants",
        columns: &["updated_at"],
        why: IndexReason::PlanScans(Scanned::Participants),
        min_table_size: VERY_LARGE,
    },
    WantedIndex {
        table: "applied_slas",
        columns: &["updated_at"],
        why: IndexReason::PlanScansSlas,
        min_table_size: VERY_LARGE,
    },
    WantedIndex {
        table: "csat_survey_responses",
        columns: &["created_at"],
        why: IndexReason::PlanScans(Scanned::Answers),
        min_table_size: VERY_LARGE,
    },
    WantedIndex {
        table: "csat_survey_responses",
        columns: &["updated_at"],
        why: IndexReason::PlanScans(Scanned::Answers),
        min_table_size: VERY_LARGE,
    },
    WantedIndex {
        table: "contacts",
        columns: &["updated_at"],
        why: IndexReason::PlanScans(Scanned::Contacts),
        min_table_size: VERY_LARGE,
    },
];

/// An existing index that begins with the column, valid or not.
#[derive(Debug, FromRow)]
struct Index {
    /// SQL text, with the schema.
    name: String,
    is_usable: bool,
}

/// Size and age of a table's planner statistics.
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
        shape: &Shape,
        known: KnownState,
        findings: &mut Vec<Finding>,
    ) {
        let mut missing = 0;
        let tables = match shape {
            Shape::Tables(tables) => Some(tables),
            Shape::View(_) => None,
        };
        let changed_at = tables.map(|tables| [tables.changed_at()]);
        // for plans that compare no digests; the others read all of a tenant's conversations in any case
        let changed_at = changed_at
            .as_ref()
            .filter(|_| !known.digests_every_plan)
            .map(|columns| WantedIndex {
                table: "conversations",
                columns,
                why: IndexReason::PlanScansWithoutDigests,
                min_table_size: LARGE,
            });
        for wanted in WANTED.iter().chain(&changed_at) {
            let is_absent = |column: &&str| {
                tables.is_some_and(|tables| !column.contains('(') && !tables.has(wanted.table, column))
            };
            if wanted.columns.iter().any(is_absent) {
                continue;
            }
            match self.check_index(connection, wanted).await {
                Ok(None) => {}
                Ok(Some(finding)) => {
                    missing += 1;
                    findings.push(finding);
                }
                Err(error) => {
                    findings.push(Finding::not_checked(Check::Index, report(&error)));
                    return;
                }
            }
        }
        if missing == 0 {
            findings.push(Finding::ok(Check::Index, SourceFound::Indexed));
        }
    }

    async fn check_index(
        &self,
        connection: &mut PgConnection,
        wanted: &WantedIndex<'_>,
    ) -> Result<Option<Finding>, sqlx::Error> {
        let Some(size) = self.large_size(connection, &relation(wanted.table)).await? else {
            return Ok(None);
        };
        if size < wanted.min_table_size {
            return Ok(None);
        }
        // only an index over all rows that begins with this column serves every query
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
            Check::Index,
            match found.first() {
                None => SourceFound::NoIndex {
                    table: wanted.table,
                    size,
                    columns: columns.clone(),
                    why: wanted.why,
                },
                Some(index) => SourceFound::InvalidIndex {
                    table: wanted.table,
                    size,
                    columns: columns.clone(),
                    index: index.name.clone(),
                    why: wanted.why,
                },
            },
        );
        for index in &found {
            finding = finding.todo(format!("DROP INDEX CONCURRENTLY {};", index.name));
        }
        Ok(Some(finding.todo(format!(
            "CREATE INDEX CONCURRENTLY ON {} ({columns});",
            self.in_schema(wanted.table)
        ))))
    }

    /// With stale statistics the planner plans for a small table. A standby does not show when its primary last ran ANALYZE.
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
                    findings.push(Finding::not_checked(Check::Statistics, report(&error)));
                    return;
                }
            };
            if fresh.size < LARGE {
                continue;
            }
            let size = fresh.size;
            let found = if !fresh.was_analyzed {
                SourceFound::NeverAnalyzed { table, size }
            } else if !is_standby && fresh.changed > fresh.live / 2 {
                SourceFound::StaleStatistics { table, size }
            } else {
                continue;
            };
            findings.push(
                Finding::warning(Check::Statistics, found)
                    .todo(format!("ANALYZE {};", self.in_schema(table))),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::WANTED;

    #[test]
    fn every_index_that_the_docs_suggest_on_one_column_is_asked_for() {
        let page = include_str!("../../../../docs/scaling.md");
        let suggested: Vec<(&str, &str)> = page
            .lines()
            .filter_map(|line| {
                line.strip_prefix("CREATE INDEX CONCURRENTLY ON ")?
                    .strip_suffix(");")
            })
            .filter_map(|index| index.split_once(" ("))
            .collect();
        assert!(suggested.len() >= 6, "{suggested:?}");
        for (table, column) in suggested {
            let is_wanted = WANTED
                .iter()
                .any(|wanted| wanted.table == table && wanted.columns == [column]);
            assert!(is_wanted, "{table} ({column})");
        }
    }
}

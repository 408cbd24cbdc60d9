//! The cost of a view, as planned by the source. A view that is written badly aggregates all messages for every read.

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{Source, explain, one_of_view, relation};
use crate::view::ViewShape;
use tidemark_postgres::report::report;
use tidemark_runtime::finding::{Check, Finding, SourceFound};

impl Source {
    pub(super) async fn check_view_cost(
        &self,
        connection: &mut PgConnection,
        shape: &ViewShape,
        findings: &mut Vec<Finding>,
    ) {
        match self.view_cost(connection, shape).await {
            Ok(found) => findings.extend(found),
            Err(error) => findings.push(Finding::not_checked(Check::ViewCost, report(&error))),
        }
    }

    async fn view_cost(
        &self,
        connection: &mut PgConnection,
        shape: &ViewShape,
    ) -> Result<Vec<Finding>, sqlx::Error> {
        let view = shape.relation();
        let Some(size) = self.large_size(connection, &relation("messages")).await? else {
            // the planner reads a small table whole for any query
            return Ok(vec![Finding::ok(Check::ViewCost, SourceFound::TooFewMessages)]);
        };
        // the newest conversations: rows beyond the planner's statistics get the worst plans
        let newest: Option<i64> = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT max(v.conversation_id)::bigint FROM {view} v"
        )))
        .fetch_one(&mut *connection)
        .await?;
        let newest = newest.unwrap_or_default();
        let keys = format!(
            "SELECT DISTINCT v.conversation_id::bigint FROM {view} v WHERE v.inbox_id = ANY('{{1,2,3}}') \
             AND v.conversation_id BETWEEN 1 AND {newest} ORDER BY 1"
        );
        let rows = format!(
            "SELECT r.* FROM generate_series({}::bigint, {newest}) AS k (id) CROSS JOIN LATERAL ({}) r",
            newest - 999,
            one_of_view(shape)
        );
        let mut found = Vec::new();
        let plan = explain(&mut *connection, &keys).await?;
        if reads_whole(&plan, "messages") {
            found.push(Finding::warning(
                Check::ViewCost,
                SourceFound::KeysCost {
                    view: view.clone(),
                    size,
                },
            ));
        }
        let plan = explain(&mut *connection, &rows).await?;
        if reads_whole(&plan, "messages") {
            found.push(
                Finding::warning(Check::ViewCost, SourceFound::RowsCost { view, size }).todo(format!(
                    "ANALYZE {};   -- then tidemark doctor again",
                    self.in_schema("messages")
                )),
            );
        }
        if found.is_empty() {
            found.push(Finding::ok(Check::ViewCost, SourceFound::CostGood(cost(&plan))));
        }
        Ok(found)
    }
}

fn cost(plan: &Value) -> String {
    plan[0]["Plan"]["Total Cost"].to_string()
}

/// Whether a plan scans the whole table, directly or through an index without a condition.
fn reads_whole(plan: &Value, table: &str) -> bool {
    match plan {
        Value::Array(parts) => parts.iter().any(|part| reads_whole(part, table)),
        Value::Object(node) => {
            let whole = match node.get("Node Type").and_then(Value::as_str) {
                Some("Seq Scan") => true,
                Some("Index Scan" | "Index Only Scan" | "Bitmap Index Scan") => {
                    !node.contains_key("Index Cond")
                }
                _ => false,
            };
            (whole && node.get("Relation Name").and_then(Value::as_str) == Some(table))
                || node.values().any(|value| reads_whole(value, table))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_scan_without_a_condition_reads_the_whole_table() {
        let under = |node: Value| json!([{"Plan": {"Node Type": "Nested Loop", "Plans": [node]}}]);
        let seq = json!({"Node Type": "Seq Scan", "Relation Name": "messages"});
        let all = json!({"Node Type": "Index Scan", "Relation Name": "messages", "Index Name": "i"});
        let own = json!({"Node Type": "Index Scan", "Relation Name": "messages", "Index Cond": "(conversation_id = k.id)"});
        let other = json!({"Node Type": "Seq Scan", "Relation Name": "inboxes"});
        let found = [seq, all, own, other].map(|node| reads_whole(&under(node), "messages"));
        assert_eq!(found, [true, true, false, false]);
    }
}

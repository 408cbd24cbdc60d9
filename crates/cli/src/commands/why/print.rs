//! Prints the answer: first the sentence, then the facts behind it.

use serde_json::Value;
use tidemark_operations::why::WhyAnswer;

use crate::output;

/// Columns that are always shown, because they identify the conversation.
const IDENTIFYING: [&str; 9] = [
    "display_id",
    "inbox_id",
    "status",
    "assignee_id",
    "contact_id",
    "conversation_created_at",
    "conversation_updated_at",
    "last_activity_at",
    "t_messages",
];
/// Longer values are truncated; --json has all of them.
const VALUE_SHOWN: usize = 60;

pub fn answer(answer: &WhyAnswer, all_columns: bool) -> anyhow::Result<()> {
    output::line(format!(
        "conversation {} of tenant {}: {}",
        answer.conversation_id, answer.tenant_id, answer.why
    ))?;
    output::line("")?;
    facts(answer)?;
    let columns: Vec<Vec<String>> = answer
        .columns
        .iter()
        .filter(|column| {
            all_columns
                || answer.differing.iter().any(|name| name == column.column)
                || IDENTIFYING.contains(&column.column)
        })
        .map(|column| {
            let mark = if column.differs { "≠" } else { "" };
            vec![
                mark.to_owned(),
                column.column.to_owned(),
                value(&column.source),
                value(&column.target),
            ]
        })
        .collect();
    if answer.source.is_tenants || answer.target.is_some() {
        output::line("")?;
        output::table(&["", "column", "source", "target"], &[], columns)?;
    }
    if answer.runs.is_empty() {
        return output::line("\nno chunk in the ledger covers it");
    }
    output::line("")?;
    runs(answer)
}

fn facts(answer: &WhyAnswer) -> anyhow::Result<()> {
    let source = &answer.source;
    let inbox = source.inbox_id.map(|inbox| match &source.inbox {
        Some(mapping) if mapping.is_active => format!("in inbox {inbox} of tenant {}", mapping.tenant_id),
        Some(_) => format!("in inbox {inbox}, which was unmapped"),
        None => format!("in inbox {inbox}, which no tenant has"),
    });
    let there = match source.exists {
        false => "does not have it".to_owned(),
        true => inbox.unwrap_or_else(|| "has it".to_owned()),
    };
    let mut rows = vec![(format!("source {}", source.name), there)];
    if source.writer_open {
        rows.push((
            String::new(),
            "changed or locked by an open transaction".to_owned(),
        ));
    }
    rows.push((
        "target".to_owned(),
        match &answer.target {
            None => "no row".to_owned(),
            Some(row) => {
                let state = row.source_deleted_at.map_or_else(
                    || "live".to_owned(),
                    |at| format!("marked deleted as of {}", output::time(Some(at))),
                );
                format!(
                    "{state}, written by run {} from the source at {}",
                    row.etl_run_id,
                    output::time(Some(row.source_extracted_at))
                )
            }
        },
    ));
    let signals = if answer.signals.is_empty() {
        "none".to_owned()
    } else {
        answer.signals.join(", ")
    };
    rows.push(("signals".to_owned(), signals));
    if let Some(reject) = &answer.reject {
        let state = match reject.resolved_at {
            Some(at) => format!("resolved {}", output::time(Some(at))),
            None => format!("open, {} attempts", reject.attempts),
        };
        let code = reject.sqlstate.as_ref().map(|code| format!(" {code}"));
        rows.push((
            "reject".to_owned(),
            format!(
                "{state}, {}{}: {}",
                reject.side,
                code.unwrap_or_default(),
                reject.error
            ),
        ));
    }
    rows.push((
        "watermark".to_owned(),
        format!(
            "{}, next sync {}",
            output::time(answer.watermark.watermark),
            output::time(Some(answer.watermark.next_due_at))
        ),
    ));
    if let Some(held_by) = &answer.held_by {
        rows.push(("held by".to_owned(), held_by.clone()));
    }
    output::table(
        &["why", ""],
        &[],
        rows.into_iter().map(|(name, value)| vec![name, value]).collect(),
    )
}

fn runs(answer: &WhyAnswer) -> anyhow::Result<()> {
    let has_links = answer.runs.iter().any(|run| run.trace_url.is_some());
    let rows = answer
        .runs
        .iter()
        .map(|run| {
            let touch = &run.chunk;
            let trace = if has_links {
                &run.trace_url
            } else {
                &touch.trace_id
            };
            vec![
                touch.id().to_string(),
                touch.run_type.as_str().to_owned(),
                touch.run_status.as_str().to_owned(),
                touch.status.as_str().to_owned(),
                if run.wrote_row { "wrote the row" } else { "" }.to_owned(),
                output::time(touch.source_extracted_at),
                output::time(touch.finished_at),
                trace.clone().unwrap_or_else(|| "-".to_owned()),
                touch.error.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    let header = [
        "chunk", "type", "run", "status", "", "read", "ended", "trace", "error",
    ];
    output::table(&header, &[], rows)
}

/// A value on one line.
fn value(value: &Value) -> String {
    let text = match value {
        Value::Null => return "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut shown: String = text
        .chars()
        .take(VALUE_SHOWN)
        .map(|sign| if sign.is_control() { ' ' } else { sign })
        .collect();
    let length = text.chars().count();
    if length > VALUE_SHOWN {
        shown.push_str(&format!("… ({length})"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_one_line_and_cut() {
        assert_eq!(value(&Value::Null), "-");
        assert_eq!(value(&json!("")), "");
        assert_eq!(value(&json!("a\nb\u{1b}[2J")), "a b [2J");
        assert_eq!(value(&json!(["a", 1])), r#"["a",1]"#);
        let long = value(&json!("ä".repeat(70)));
        assert_eq!(long, format!("{}… (70)", "ä".repeat(60)));
    }
}

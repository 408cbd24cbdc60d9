//! A job on many things: who may see it, where its things were chosen, and its command.

use std::collections::BTreeMap;

use tidemark_ledger as ledger;
use tidemark_ledger::bulk::Bulk;
use tidemark_operations::bulk::{BulkAction, BulkFilter, BulkSubject};

use crate::context::Cx;
use crate::error::{PageError, PageResult};

/// More than so many are confirmed by typing.
pub const TYPED_ABOVE: i32 = 20;

/// A job whose tenants the author sees.
pub async fn load(cx: &Cx, id: i64) -> PageResult<Bulk> {
    let who = cx.who.as_ref().ok_or(PageError::NotFound)?;
    let db = &cx.console.db;
    let found = ledger::bulk::find(db, id).await?.ok_or(PageError::NotFound)?;
    if !who.sees_all() {
        let tenants = ledger::bulk::list_tenants(db, id).await?;
        if !tenants.iter().all(|tenant| who.sees(*tenant)) {
            return Err(PageError::NotFound);
        }
    }
    Ok(found)
}

/// The page that the things were chosen on.
pub const fn list_of(subject: BulkSubject) -> &'static str {
    match subject {
        BulkSubject::Tenants => "/tenants",
        BulkSubject::Runs => "/runs",
        BulkSubject::Chunks => "/dead",
        BulkSubject::Rejects => "/rejects",
    }
}

/// The command that does the same.
pub fn command(bulk: &Bulk) -> String {
    let filter: BulkFilter = serde_json::from_value(bulk.filter.clone()).unwrap_or_default();
    let mut command = format!("tidemark bulk start {}", bulk.action);
    match &filter.ids {
        Some(ids) if ids.len() > 20 => command += " --ids-file FILE",
        Some(ids) => command += &format!(" --ids {}", ids.join(",")),
        None => command += " --all-matching",
    }
    let options: BTreeMap<&str, Option<String>> = [
        ("tenant", filter.tenant.map(|tenant| tenant.to_string())),
        ("state", filter.state),
        ("source", filter.source),
        ("text", filter.text),
        ("status", filter.status),
        ("type", filter.run_type),
        ("side", filter.side),
        ("sqlstate", filter.sqlstate),
        ("error", filter.error),
    ]
    .into();
    for (name, value) in options {
        if let Some(value) = value {
            command += &format!(" --{name} {}", shell_word(&value));
        }
    }
    if BulkAction::parse(&bulk.action).is_some_and(BulkAction::needs_reason) {
        command += " --reason TEXT";
    }
    command + " --yes"
}

/// A value for a shell.
fn shell_word(value: &str) -> String {
    let is_plain = value
        .chars()
        .all(|sign| sign.is_ascii_alphanumeric() || "-_.:/".contains(sign));
    if is_plain {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_a_command_is_one_word_for_a_shell() {
        assert_eq!(shell_word("late"), "late");
        assert_eq!(shell_word("it's; rm -rf"), r"'it'\''s; rm -rf'");
    }
}

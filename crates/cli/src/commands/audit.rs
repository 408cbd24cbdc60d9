//! `tidemark audit …`.

use serde_json::Value;
use tidemark_ledger::audit::{AuditFilter, Recorded};
use tidemark_operations::{audit, tenants};
use tidemark_shared::audit::Action;
use tidemark_shared::ids::TenantId;
use tidemark_shared::since::Since;

use super::one_of;
use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List what operators did, newest first
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only actions on this tenant
    #[arg(long, alias = "tenant-id", value_name = "N")]
    tenant: Option<TenantId>,
    /// Only this actor, or actors whose name begins like this: `cli:`, `console:ana`
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only these actions, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "ACTION", value_parser = one_of(Action::ALL, Action::as_str))]
    action: Vec<Action>,
    /// Only actions since this time (RFC 3339) or age (2h, 7days)
    #[arg(long, value_name = "TIME|AGE")]
    since: Option<Since>,
    /// Only entries before this one: the next part of a longer list
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    /// Show at most this many
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let Self::List(args) = self;
        args.run(app).await
    }
}

impl ListArgs {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        let filter = AuditFilter {
            tenant: self.tenant,
            actor: self.actor,
            actions: self.action,
            since: self.since,
        };
        let page = audit::list(&db, &filter, self.before, self.limit).await?;
        if app.json {
            output::json(&page)?;
            return Ok(Exit::Done);
        }
        // a removed tenant has entries, too
        if let (Some(tenant), [], None) = (self.tenant, page.items.as_slice(), self.before) {
            tenants::load(&db, tenant).await?;
        }
        table(&page.items)?;
        output::note_next(page.items.len(), page.next, "entries", "--before");
        Ok(Exit::Done)
    }
}

fn table(entries: &[Recorded]) -> anyhow::Result<()> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let rows = entries
        .iter()
        .map(|entry| {
            vec![
                entry.id.to_string(),
                output::time(Some(entry.acted_at)),
                entry.actor.clone(),
                text(&entry.origin),
                entry.action.clone(),
                text(&entry.tenant_id.map(|tenant| tenant.to_string())),
                text(&entry.subject),
                text(&entry.reason),
                change(entry),
                entry.result.clone(),
            ]
        })
        .collect();
    let header = [
        "id", "when", "who", "from", "action", "tenant", "what", "reason", "change", "result",
    ];
    output::table(&header, &[0, 5], rows)
}

fn change(entry: &Recorded) -> String {
    let side = |value: &Option<Value>| value.as_ref().map(fields);
    match (side(&entry.before), side(&entry.after)) {
        (None, None) => "-".to_owned(),
        (None, Some(after)) => after,
        (Some(before), None) => format!("{before} →"),
        (Some(before), Some(after)) => format!("{before} → {after}"),
    }
}

/// `{"a": 1, "b": "x"}` as `a=1 b=x`.
fn fields(value: &Value) -> String {
    let one = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| format!("{name}={}", one(value)))
                .collect();
            fields.join(" ")
        }
        other => one(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_one_line() {
        assert_eq!(
            fields(&json!({"source": "main", "inboxes": [1, 2], "reason": null})),
            "inboxes=[1,2] source=main"
        );
    }
}

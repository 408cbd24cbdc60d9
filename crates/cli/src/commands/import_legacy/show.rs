//! What an import did, or would do.

use serde::Serialize;
use tidemark_operations::script_import::{Ignored, Legacy};

use super::plan::{State, Step};
use crate::output;

/// The field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct Report {
    pub dry_run: bool,
    /// Host, port and database.
    pub from: String,
    pub schema: String,
    pub tenants: Vec<Step>,
    pub ignored: Vec<Ignored>,
}

impl Report {
    pub fn new(legacy: &Legacy, schema: &str, dry_run: bool, tenants: Vec<Step>) -> Self {
        Self {
            dry_run,
            from: legacy.server().to_owned(),
            schema: schema.to_owned(),
            tenants,
            ignored: legacy.ignored(),
        }
    }

    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            return output::json(self);
        }
        let rows = self.tenants.iter().map(row).collect();
        let header = [
            "old",
            "tenant",
            "name",
            "inboxes",
            "run ended",
            "watermark",
            "rows",
            "what",
        ];
        output::table(&header, &[0, 1, 3, 6], rows)?;
        for step in &self.tenants {
            for note in &step.notes {
                output::note(format!("tenant {}: {note}", step.old_id));
            }
            if step.rows_left > 0 {
                output::note(format!(
                    "tenant {}: {} rows of inboxes that are not its own stay behind",
                    step.old_id,
                    output::count(step.rows_left)
                ));
            }
        }
        if !self.ignored.is_empty() {
            let names: Vec<String> = self
                .ignored
                .iter()
                .map(|ignored| format!("{}.{}", ignored.table, ignored.column))
                .collect();
            output::note(format!("not taken over: {}", names.join(", ")));
        }
        let imported = self.tenants.iter().filter(|step| step.state == State::Imported);
        if imported.count() > 0 {
            output::note(
                "next: tidemark sync --all --wait, which takes what changed since; the history is read anew beside it, \
                 in runs of type backfill; then tidemark verify --all",
            );
        }
        Ok(())
    }
}

fn row(step: &Step) -> Vec<String> {
    let what = match step.state {
        State::New => "new",
        State::Imported => "taken over",
        State::Exists => "is here already",
        State::Skipped => "left out",
        State::Clash => "clash",
    };
    vec![
        step.old_id.to_string(),
        step.tenant_id.to_string(),
        step.name.clone(),
        step.inboxes.len().to_string(),
        step.watermark_end.clone().unwrap_or_else(|| "never".to_owned()),
        output::time(step.watermark),
        output::count(step.rows),
        what.to_owned(),
    ]
}

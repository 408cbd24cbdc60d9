//! Prints the report of an import.

use tidemark_operations::script_import::import::ImportReport;
use tidemark_operations::script_import::plan::{ImportState, TenantImport};

use crate::output;

pub fn unknown_inboxes(source: &str, inboxes: &[i32]) {
    if inboxes.is_empty() {
        return;
    }
    let names: Vec<String> = inboxes.iter().map(ToString::to_string).collect();
    output::note(format!(
        "source `{source}` has no inbox {} at present",
        names.join(", ")
    ));
}

pub fn report(report: &ImportReport, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(report);
    }
    let rows = report.tenants.iter().map(row).collect();
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
    for step in &report.tenants {
        for note in &step.notes {
            output::note(format!("tenant {}: {note}", step.old_id));
        }
        if step.rows_left > 0 {
            output::note(format!(
                "tenant {}: {} rows are not imported, because their inboxes are not the tenant's",
                step.old_id,
                output::count(step.rows_left)
            ));
        }
    }
    if !report.ignored.is_empty() {
        let names: Vec<String> = report
            .ignored
            .iter()
            .map(|ignored| format!("{}.{}", ignored.table, ignored.column))
            .collect();
        output::note(format!("not imported: {}", names.join(", ")));
    }
    let imported = report
        .tenants
        .iter()
        .filter(|step| step.state == ImportState::Imported);
    if imported.count() > 0 {
        output::note(
            "next: tidemark sync --all --wait, which takes the changes since then; backfill runs read the \
             history again beside it; then tidemark verify --all",
        );
    }
    Ok(())
}

fn row(step: &TenantImport) -> Vec<String> {
    let what = match step.state {
        ImportState::New => "new",
        ImportState::Imported => "imported",
        ImportState::Exists => "exists",
        ImportState::Skipped => "skipped",
        ImportState::Clash => "clash",
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

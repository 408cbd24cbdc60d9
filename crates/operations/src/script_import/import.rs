//! Imports the script's tenants, one transaction each.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono_tz::Tz;
use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::audit::Entry;
use tidemark_postgres::DbPool;
use tidemark_postgres::connect::prefer_lz4;
use tidemark_shared::audit::{Action, Actor};
use tidemark_shared::ids::TenantId;
use tidemark_shared::tenant::TenantStatus;
use tidemark_source::Source;

use super::load::{import_rows, row_columns};
use super::plan::{ImportRules, ImportState, LedgerState, ScriptState, TenantImport, plan};
use super::{IgnoredColumn, ScriptDatabase};
use crate::error::OperationResult;

#[derive(Debug)]
pub struct ImportOptions {
    /// Schema of the script's tables.
    pub schema: String,
    /// Time zone of the script's own clock, for `etl_inserted_at` and `etl_updated_at`.
    pub timezone: Tz,
    /// Time zone of `watermark_end`, which some scripts took from Chatwoot's clock.
    pub watermark_timezone: Tz,
    /// New ids for tenants, by their old ones.
    pub ids: BTreeMap<i32, TenantId>,
    /// Time zone of all tenants, instead of the one that the script has for each.
    pub tenant_timezone: Option<Tz>,
    /// The first sync starts this long before the end of the script's last successful run.
    pub overlap: Duration,
    pub with_rows: bool,
}

/// The import as planned or as done; the field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct ImportReport {
    pub dry_run: bool,
    /// Host, port and database.
    pub from: String,
    pub schema: String,
    pub tenants: Vec<TenantImport>,
    pub ignored: Vec<IgnoredColumn>,
}

impl ImportReport {
    #[must_use]
    pub fn has_clashes(&self) -> bool {
        self.tenants.iter().any(|step| step.state == ImportState::Clash)
    }
}

/// Everything that can be known before the import writes.
pub struct PlannedImport<'a> {
    db: &'a DbPool,
    source: &'a Source,
    legacy: ScriptDatabase,
    options: ImportOptions,
    pub report: ImportReport,
    /// A run of the script is under way: the import would miss what it still writes.
    pub script_is_running: bool,
    /// Inboxes that the source does not list. Conversations may outlive their inbox, but another source is more likely.
    pub unknown_inboxes: Vec<i32>,
}

impl<'a> PlannedImport<'a> {
    pub async fn plan(
        db: &'a DbPool,
        source: &'a Source,
        mut legacy: ScriptDatabase,
        options: ImportOptions,
        dry_run: bool,
    ) -> OperationResult<Self> {
        let mut tenants = plan_tenants(db, source, &mut legacy, &options).await?;
        let mut ignored = legacy.ignored();
        if options.with_rows {
            let not_null = ledger::target::not_null_columns(db).await?;
            ignored.extend(legacy.ignored_of_rows(&row_columns(&not_null)));
            for tenant in &mut tenants {
                let (all, taken) = legacy.count_rows(tenant.old_id, &tenant.inbox_ids()).await?;
                tenant.rows = taken;
                tenant.rows_left = all - taken;
            }
        }
        Ok(Self {
            script_is_running: legacy.is_running().await?,
            unknown_inboxes: unknown_inboxes(source, &tenants).await?,
            report: ImportReport {
                dry_run,
                from: legacy.server().to_owned(),
                schema: options.schema.clone(),
                tenants,
                ignored,
            },
            db,
            source,
            legacy,
            options,
        })
    }

    /// Imports the new tenants; nothing after a dry run, or while a tenant clashes.
    pub async fn execute(mut self, actor: &Actor) -> OperationResult<ImportReport> {
        if !self.report.dry_run && !self.report.has_clashes() {
            for step in &mut self.report.tenants {
                if step.state == ImportState::New {
                    let (legacy, options) = (&mut self.legacy, &self.options);
                    import_tenant(self.db, self.source, legacy, options, actor, step).await?;
                }
            }
        }
        self.legacy.close().await;
        Ok(self.report)
    }
}

async fn plan_tenants(
    db: &DbPool,
    source: &Source,
    legacy: &mut ScriptDatabase,
    options: &ImportOptions,
) -> OperationResult<Vec<TenantImport>> {
    let script = ScriptState {
        tenants: legacy.tenants().await?,
        inboxes: legacy.inboxes().await?,
        watermarks: legacy.watermarks().await?,
    };
    let inboxes: Vec<i32> = script.inboxes.iter().map(|inbox| inbox.inbox_id).collect();
    let ledger = LedgerState {
        tenants: ledger::tenant::list(db).await?,
        removed: ledger::tenant::list_removed(db).await?,
        owners: ledger::inbox::list_owners(db, source.name(), &inboxes).await?,
        clock: source.observe().await?.sample.sampled_at,
    };
    let rules = ImportRules {
        ids: options.ids.clone(),
        watermark_timezone: options.watermark_timezone,
        tenant_timezone: options.tenant_timezone,
        overlap: options.overlap,
    };
    plan(script, &ledger, &rules)
}

async fn unknown_inboxes(source: &Source, steps: &[TenantImport]) -> OperationResult<Vec<i32>> {
    let new = steps.iter().filter(|step| step.state == ImportState::New);
    let mut ids: Vec<i32> = new.flat_map(TenantImport::inbox_ids).collect();
    let known = source.inboxes(None, Some(&ids)).await?;
    ids.retain(|id| !known.iter().any(|inbox| inbox.id == *id));
    Ok(ids)
}

/// Imports a tenant whole or not at all.
async fn import_tenant(
    db: &DbPool,
    source: &Source,
    legacy: &mut ScriptDatabase,
    options: &ImportOptions,
    actor: &Actor,
    step: &mut TenantImport,
) -> OperationResult<()> {
    let tenant = step.tenant_id;
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    ledger::tenant::insert(&mut *tx, &step.new_tenant(source.name())).await?;
    if step.status != TenantStatus::Active {
        ledger::tenant::set_status(&mut *tx, tenant, step.status).await?;
    }
    ledger::inbox::map(&mut *tx, source.name(), tenant, &step.inboxes, None).await?;
    if let Some(watermark) = step.watermark {
        let reason = format!(
            "imported from schema {} at {}, whose last successful run ended at {}",
            options.schema,
            legacy.server(),
            step.watermark_end.as_deref().unwrap_or_default()
        );
        ledger::watermark::set(&mut tx, tenant, watermark, actor, &reason).await?;
    }
    if options.with_rows {
        prefer_lz4(&mut tx, true)
            .await
            .attempt("choose how rows are compressed")?;
        let ids = (step.old_id, tenant);
        let zone = options.timezone.name();
        let taken = import_rows(&mut tx, legacy, ids, &step.inbox_ids(), zone).await?;
        step.rows = i64::try_from(taken).expect("rows of a tenant fit in 63 bits");
    }
    let entry = Entry::new(Action::ScriptImport).tenant(tenant).after(&*step);
    ledger::audit::record(&mut *tx, actor, &entry).await?;
    tx.commit().await.attempt("import the tenant")?;
    step.state = ImportState::Imported;
    Ok(())
}

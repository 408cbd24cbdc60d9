//! Verify: the source transformed once more beside what the target holds, row by row and column by column.

use std::sync::{Arc, LazyLock};

use serde::Serialize;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::db;
use tidemark_shared::db::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::source::Sources;
use tidemark_shared::tenant::Tenant;
use tokio::sync::mpsc;

use crate::execute::ExecuteError;
use crate::extract::Extractor;
use crate::load::Staging;
use crate::load::columns::COLUMNS;
use crate::rejects::Rejects;
use crate::transform::TenantContext;

/// Conversations compared at once.
const ROWS_AT_ONCE: i32 = 5_000;

/// Live rows in `lo..=hi` on either side, those on one side only, and those of which any column differs.
static COMPARE: LazyLock<String> = LazyLock::new(|| {
    let row = |table: &str| {
        COLUMNS
            .iter()
            .map(|column| format!("{table}.{}", column.name))
            .collect::<Vec<_>>()
            .join(", ")
    };
    format!(
        "SELECT count(s.conversation_id), count(t.conversation_id), \
                count(*) FILTER (WHERE t.conversation_id IS NULL), count(*) FILTER (WHERE s.conversation_id IS NULL), \
                count(*) FILTER (WHERE s.conversation_id = t.conversation_id AND ROW({}) IS DISTINCT FROM ROW({})) \
         FROM pg_temp.tidemark_staging s \
         FULL JOIN (SELECT * FROM conversations_analytics WHERE tenant_id = $1 AND source_deleted_at IS NULL \
                    AND conversation_id BETWEEN $2 AND $3) t USING (tenant_id, conversation_id)",
        row("s"),
        row("t")
    )
});

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Equal,
    Different,
}

/// What a comparison found; the field names are a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Verification {
    pub tenant_id: TenantId,
    pub source_rows: i64,
    pub target_rows: i64,
    /// Only in the source.
    pub missing: i64,
    /// Only in the target.
    pub extra: i64,
    /// On both sides, but not the same in every column.
    pub different: i64,
    pub verdict: Verdict,
}

/// Compares tenants.
#[derive(Debug, Clone)]
pub struct Verifier {
    pub db: DbPool,
    pub sources: Arc<Sources>,
}

impl Verifier {
    /// Compares all of a tenant's rows as one snapshot of the source has them. Writes nothing.
    ///
    /// # Errors
    /// When source or target do not answer.
    pub async fn verify(&self, tenant: &Tenant) -> Result<Verification, ExecuteError> {
        let source = self.sources.get(&tenant.source)?;
        let timezone = tenant
            .timezone
            .parse()
            .map_err(|_| ExecuteError::TimeZone(tenant.timezone.clone()))?;
        let context = TenantContext {
            tenant_id: tenant.id.0,
            timezone,
        };
        let (_, inboxes) = db::inbox::mapping(&self.db, tenant.id).await?;
        let mut tx = source.begin(&format!("verify tenant {}", tenant.id)).await?;
        let mut found = Verification {
            tenant_id: tenant.id,
            source_rows: 0,
            target_rows: 0,
            missing: 0,
            extra: 0,
            different: 0,
            verdict: Verdict::Equal,
        };
        let mut lo = i64::MIN;
        loop {
            let end = source
                .range_end(tx.connection(), &inboxes, lo, ROWS_AT_ONCE)
                .await?;
            let hi = end.unwrap_or(i64::MAX);
            let mut staging = Staging::begin(&self.db, tenant.id).await?;
            let (sink, buffers) = mpsc::channel(1);
            let rejects = Rejects::without_limit();
            let extractor = Extractor::new(source, &mut tx, &inboxes, &context, sink, &rejects);
            let spec = ChunkSpec::KeyRange { lo, hi };
            let (extracted, staged) = tokio::join!(extractor.run(&spec), staging.stage(buffers, &rejects));
            staged?;
            extracted?;
            let counts = staging.compare(&COMPARE, lo, hi).await?;
            staging.end().await?;
            // a row that cannot be taken is in the source all the same
            let rejected = i64::try_from(rejects.into_list().len()).expect("rows of a range fit in 63 bits");
            found.source_rows += counts.0 + rejected;
            found.target_rows += counts.1;
            found.missing += counts.2 + rejected;
            found.extra += counts.3;
            found.different += counts.4;
            match end {
                Some(hi) => lo = hi + 1,
                None => break,
            }
        }
        tx.finish().await;
        if found.missing + found.extra + found.different > 0 {
            found.verdict = Verdict::Different;
        }
        Ok(found)
    }
}

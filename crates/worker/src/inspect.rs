//! One conversation as the source has it now, taken and transformed as a chunk would take it, beside its row of the target.

use std::sync::LazyLock;

use secrecy::SecretString;
use serde::Serialize;
use serde_json::Value;
use tidemark_ledger as ledger;
use tidemark_ledger::reject::Reject;
use tidemark_postgres::DbPool;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::tenant::Tenant;
use tidemark_source::{Source, SourceTx};
use tokio::sync::mpsc;

use crate::execute::{ExecuteError, context};
use crate::extract::Extractor;
use crate::load::Staging;
use crate::rejects::Rejects;
use crate::row::columns::COLUMNS;

/// What is staged and what is stored, column by column. $1 tenant, $2 conversation
static BESIDE: LazyLock<String> = LazyLock::new(|| {
    let each = |expression: fn(&str) -> String| {
        let columns: Vec<String> = COLUMNS.iter().map(|column| expression(column.name)).collect();
        columns.join(", ")
    };
    format!(
        "SELECT s.conversation_id IS NOT NULL, t.conversation_id IS NOT NULL, \
                to_jsonb(ARRAY[{}]), to_jsonb(ARRAY[{}]), ARRAY[{}] \
         FROM (SELECT) one \
         LEFT JOIN pg_temp.tidemark_staging s ON s.tenant_id = $1 AND s.conversation_id = $2 \
         LEFT JOIN conversations_analytics t ON t.tenant_id = $1 AND t.conversation_id = $2",
        each(|name| format!("to_jsonb(s.{name})")),
        each(|name| format!("to_jsonb(t.{name})")),
        each(|name| format!("s.{name} IS DISTINCT FROM t.{name}")),
    )
});

/// A column on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnBeside {
    pub column: &'static str,
    /// What a run would write; NULL where there is nothing to write.
    pub source: Value,
    pub target: Value,
    pub differs: bool,
}

/// A conversation on both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct Beside {
    /// One of the tenant's inboxes has it, and it can be taken.
    pub in_source: bool,
    /// The target has a row, live or marked deleted.
    pub in_target: bool,
    /// Every column, in the order of the table.
    pub columns: Vec<ColumnBeside>,
    /// Its contact is forgotten: it stays out of the target.
    pub withheld: bool,
    /// Why a run could not take it now.
    pub reject: Option<Reject>,
}

/// Reads one conversation in this snapshot of its tenant's source and lays it beside the target's row. Writes nothing.
///
/// # Errors
/// When source or target do not answer.
pub async fn beside(
    db: &DbPool,
    source: &Source,
    tx: &mut SourceTx,
    tenant: &Tenant,
    privacy_key: Option<&SecretString>,
    conversation: i64,
) -> Result<Beside, ExecuteError> {
    let mapping = ledger::inbox::load_mapping(db, tenant.id).await?;
    let context = context(tenant.id, &tenant.timezone, &mapping, privacy_key)?;
    let mut staging = Staging::begin(db, tenant.id).await?;
    let (sink, buffers) = mpsc::channel(1);
    let rejects = Rejects::without_limit();
    let extractor = Extractor::new(source, tx, &mapping.inboxes, &context, sink, &rejects);
    let spec = ChunkSpec::Keys {
        ids: vec![conversation],
    };
    let (extracted, staged) = tokio::join!(extractor.run(&spec), staging.stage(buffers, &rejects));
    staged?;
    let extracted = extracted?;
    let (in_source, in_target, there, here, differs) = staging.beside(&BESIDE, conversation).await?;
    staging.end().await?;
    let columns = COLUMNS
        .iter()
        .zip(there.into_iter().zip(here))
        .zip(differs)
        .map(|((column, (source, target)), differs)| ColumnBeside {
            column: column.name,
            source,
            target,
            differs,
        })
        .collect();
    Ok(Beside {
        in_source,
        in_target,
        columns,
        withheld: !extracted.withheld.is_empty(),
        reject: rejects.take().pop(),
    })
}

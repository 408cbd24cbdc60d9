//! Reads one conversation from the source and transforms it as a chunk would, to compare it with its row in the target.

use std::sync::LazyLock;

use secrecy::SecretString;
use serde::Serialize;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use sqlx::types::Json;
use tidemark_ledger as ledger;
use tidemark_ledger::reject::Reject;
use tidemark_ledger::stored::Stored;
use tidemark_postgres::DbPool;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::tenant::Tenant;
use tidemark_source::{Source, SourceTx};
use tokio::sync::mpsc;

use crate::error::ExecuteError;
use crate::extract::Extractor;
use crate::load::{Staging, target};
use crate::rejects::Rejects;
use crate::row::columns::COLUMNS;
use crate::tenant_context::tenant_context;

/// The staged and the stored row, column by column. $1 tenant, $2 conversation
static COMPARE: LazyLock<String> = LazyLock::new(|| {
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

/// The value of one column in source and target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InspectedColumn {
    pub column: &'static str,
    /// The value that a run would write; NULL when it would write no row.
    pub source: Value,
    pub target: Value,
    pub differs: bool,
}

/// A conversation in source and target.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// It is in one of the tenant's inboxes, and can be transformed.
    pub in_source: bool,
    /// The target has a row, live or marked deleted.
    pub in_target: bool,
    /// Every column, in the order of the table.
    pub columns: Vec<InspectedColumn>,
    /// Its contact is forgotten: it is kept out of the target.
    pub withheld: bool,
    /// Why a run would reject it now.
    pub reject: Option<Reject>,
}

/// Reads one conversation in this snapshot of its tenant's source and compares it with the target's row. Writes nothing.
pub async fn inspect_conversation(
    db: &DbPool,
    source: &Source,
    tx: &mut SourceTx,
    tenant: &Tenant,
    privacy_key: Option<&SecretString>,
    conversation: i64,
) -> Result<Inspection, ExecuteError> {
    let mapping = ledger::inbox::load_mapping(db, tenant.id).await?;
    let context = tenant_context(tenant.id, &tenant.timezone, &mapping, privacy_key)?;
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
    let (in_source, in_target, staged_values, stored_values, differs): (
        _,
        _,
        Json<Vec<Value>>,
        Json<Vec<Value>>,
        Vec<bool>,
    ) = sqlx::query_as(AssertSqlSafe(COMPARE.as_str()))
        .bind(Stored(tenant.id))
        .bind(conversation)
        .fetch_one(staging.connection().await?)
        .await
        .map_err(target("compare the conversation with its row"))?;
    staging.commit().await?;
    let columns = COLUMNS
        .iter()
        .zip(staged_values.0.into_iter().zip(stored_values.0))
        .zip(differs)
        .map(|((column, (source, target)), differs)| InspectedColumn {
            column: column.name,
            source,
            target,
            differs,
        })
        .collect();
    Ok(Inspection {
        in_source,
        in_target,
        columns,
        withheld: !extracted.withheld.is_empty(),
        reject: rejects.take().pop(),
    })
}

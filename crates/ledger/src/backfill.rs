//! Backfills that are due, and `etl_name`: digests of the names in a tenant's rows.

use std::time::Duration;

use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::selection::{Name, Selection};

use crate::stored::{Stored, stored, values};
use crate::{Attempt, DbResult, secs, statements};

statements! {
    LIST_DUE = include_str!("backfill/list_due.sql");
    LIST_OPEN = "SELECT id FROM etl_control \
                 WHERE tenant_id = ANY($1) AND type = 'backfill' AND finished_at IS NULL ORDER BY id";
    LIST_KNOWN = "SELECT k.digest \
                  FROM unnest($1::integer[], $2::text[], $3::bigint[]) WITH ORDINALITY AS n (tenant_id, kind, id, position) \
                  LEFT JOIN etl_name k ON k.tenant_id = n.tenant_id AND k.kind = n.kind AND k.id = n.id ORDER BY n.position";
    RECORD_NAMES = "INSERT INTO etl_name (tenant_id, kind, id, digest) \
                    SELECT $1, kind, id, digest FROM unnest($2::text[], $3::bigint[], $4::text[]) AS n (kind, id, digest) \
                    ORDER BY kind, id \
                    ON CONFLICT (tenant_id, kind, id) DO UPDATE SET digest = excluded.digest";
}

/// A backfill that the producer should request.
#[derive(Debug, Clone, FromRow)]
pub struct DueBackfill {
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    pub selection: Json<Selection>,
}

/// Backfills that were not requested yet, and those that failed longer than `pause` ago. `only` restricts the list to
/// these tenants.
pub async fn list_due(
    db: impl PgExecutor<'_>,
    only: Option<&[TenantId]>,
    pause: Duration,
) -> DbResult<Vec<DueBackfill>> {
    sqlx::query_as(LIST_DUE)
        .bind(only.map(stored))
        .bind(secs(pause))
        .fetch_all(db)
        .await
        .attempt("list due backfills")
}

/// The open backfills of these tenants.
pub async fn list_open(db: impl PgExecutor<'_>, tenants: &[TenantId]) -> DbResult<Vec<RunId>> {
    sqlx::query_scalar(LIST_OPEN)
        .bind(stored(tenants))
        .fetch_all(db)
        .await
        .map(values)
        .attempt("list the open backfills")
}

fn columns<'a>(names: impl Iterator<Item = &'a Name>) -> (Vec<&'static str>, Vec<i64>, Vec<&'a str>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        columns.0.push(name.of.as_str());
        columns.1.push(name.id);
        columns.2.push(name.digest.as_str());
    }
    columns
}

/// The recorded digests of these names, in the same order.
pub async fn known_digests(
    db: impl PgExecutor<'_>,
    names: &[(TenantId, &Name)],
) -> DbResult<Vec<Option<String>>> {
    let tenants: Vec<TenantId> = names.iter().map(|(tenant, _)| *tenant).collect();
    let (kinds, ids, _) = columns(names.iter().map(|(_, name)| *name));
    sqlx::query_scalar(LIST_KNOWN)
        .bind(stored(tenants))
        .bind(kinds)
        .bind(ids)
        .fetch_all(db)
        .await
        .attempt("load the recorded names")
}

/// Records that the tenant's rows have these names, or that a requested backfill will write them.
pub async fn record_names(db: impl PgExecutor<'_>, tenant: TenantId, names: &[Name]) -> DbResult<()> {
    let (kinds, ids, digests) = columns(names.iter());
    sqlx::query(RECORD_NAMES)
        .bind(Stored(tenant))
        .bind(kinds)
        .bind(ids)
        .bind(digests)
        .execute(db)
        .await
        .map(drop)
        .attempt("record the names")
}

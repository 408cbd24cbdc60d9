//! Names that are copied into rows: of inboxes, accounts, users and teams. When one changes, the rows that carry it are
//! many and none is urgent, so a backfill takes them and no live chunk does.
//!
//! What was touched at the source since the last look is compared with the digests in the ledger: users are touched by
//! every login, and that must cost nothing. A view does not show what was touched: all that it shows is compared.
//! Another digest than the one known is a rename. Of what is not known yet the rows tell whether they carry other names;
//! rows that were imported and never read say nothing, since the backfill of their inbox reads them anyway.

use std::sync::Arc;

use chrono::NaiveDateTime;
use sqlx::postgres::{PgRow, PgTransaction};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, FromRow, Row};
use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_ledger::stored::{Stored, stored, values};
use tidemark_ledger::target::NameTexts;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::selection::Sender;
use tidemark_shared::selection::{Name, NameOf};
use tidemark_source::SourceError;

use crate::planning::signals::{Inboxes, Signals, view};

/// Table, whose names are in it, its texts in the order of the target's columns, and how its rows `n` concern the inboxes
/// `m`: users and teams by conversations that are theirs.
const TABLES: [(&str, NameOf, &str, &str); 4] = [
    (
        "inboxes",
        NameOf::Inbox,
        "n.name::text, n.channel_type::text, n.timezone::text",
        "JOIN m ON m.inbox_id = n.id",
    ),
    (
        "accounts",
        NameOf::Account,
        "n.name::text",
        "JOIN inboxes i ON i.account_id = n.id JOIN m ON m.inbox_id = i.id",
    ),
    (
        "users",
        NameOf::User,
        "n.name::text, n.email::text",
        "JOIN conversations c ON c.assignee_id = n.id AND c.id <> ALL($5::bigint[]) JOIN m ON m.inbox_id = c.inbox_id",
    ),
    (
        "teams",
        NameOf::Team,
        "n.name::text",
        "JOIN conversations c ON c.team_id = n.id AND c.id <> ALL($5::bigint[]) JOIN m ON m.inbox_id = c.inbox_id",
    ),
];
const WITH_UPDATED_AT: &str = "SELECT w.table_name FROM unnest($1::text[]) AS w (table_name) \
     JOIN pg_attribute a ON a.attrelid = to_regclass(quote_ident(w.table_name)) AND a.attname = 'updated_at' \
      AND NOT a.attisdropped WHERE has_column_privilege(a.attrelid, a.attnum, 'SELECT')";

/// What a plan found out about names; to be written with it.
#[derive(Debug, Default, Clone)]
pub struct Names {
    /// Rows that carry these are to be taken anew.
    pub(crate) renamed: Vec<Name>,
    /// New to the ledger, those renamed among them.
    pub(crate) seen: Vec<Name>,
    /// Rows that show messages of these are to be taken anew.
    pub(crate) deleted_senders: Vec<Sender>,
}

/// Somebody or something touched at the source, with its names.
#[derive(Debug)]
pub(crate) struct Touched {
    name: Name,
    texts: Vec<Option<String>>,
    /// Whom it concerns.
    tenants: Vec<TenantId>,
}

impl FromRow<'_, PgRow> for Touched {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            name: Name {
                of: row.try_get::<Stored<_>, _>(0)?.0,
                id: row.try_get(1)?,
                digest: row.try_get(2)?,
            },
            texts: row.try_get::<Json<Vec<Option<String>>>, _>(3)?.0,
            tenants: values(row.try_get(4)?),
        })
    }
}

/// What was touched and is not called what the ledger says.
#[derive(Debug, Clone)]
pub(crate) struct Doubt {
    touched: Arc<Touched>,
    /// Whether the ledger has another name for it, or none.
    has_other: bool,
}

impl Signals<'_> {
    /// What was touched since and may have another name.
    pub(crate) async fn touched_names(
        &mut self,
        inboxes: &Inboxes,
        earliest: NaiveDateTime,
    ) -> Result<Vec<Touched>, SourceError> {
        if let Some(shape) = self.shape {
            let Some(statement) = view::names(shape) else {
                return Ok(Vec::new());
            };
            return sqlx::query_as(AssertSqlSafe(statement))
                .bind(&inboxes.ids)
                .bind(stored(&inboxes.tenants))
                .fetch_all(self.tx.connection())
                .await
                .map_err(self.source.query_error("look for changed names"));
        }
        let tables: Vec<&str> = TABLES.iter().map(|(table, ..)| *table).collect();
        let dated: Vec<String> = sqlx::query_scalar(WITH_UPDATED_AT)
            .bind(tables)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look its tables up"))?;
        let parts: Vec<String> = TABLES
            .iter()
            .filter(|(table, ..)| dated.iter().any(|dated| dated == table))
            .map(|(table, of, texts, concerned)| {
                format!(
                    "SELECT '{}', n.id::bigint, md5(ARRAY[{texts}]::text), to_jsonb(ARRAY[{texts}]), \
                            array_agg(DISTINCT m.tenant_id) \
                     FROM {table} n {concerned} WHERE n.updated_at >= $4 AND n.updated_at >= m.since GROUP BY 1, 2, 3, 4",
                    of.as_str()
                )
            })
            .collect();
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let statement = format!(
            "WITH m AS (SELECT * FROM unnest($1::integer[], $2::integer[], $3::timestamp[]) AS m (inbox_id, tenant_id, since)) {}",
            parts.join(" UNION ALL ")
        );
        sqlx::query_as(AssertSqlSafe(statement))
            .bind(&inboxes.ids)
            .bind(stored(&inboxes.tenants))
            .bind(&inboxes.since)
            .bind(earliest)
            .bind(&self.unreadable)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look for changed names"))
    }
}

/// Compares what was touched with the ledger, for each tenant that it concerns.
pub(crate) async fn doubts(db: &DbPool, touched: Vec<Touched>) -> Result<Vec<(TenantId, Doubt)>, DbError> {
    if touched.is_empty() {
        return Ok(Vec::new());
    }
    let touched: Vec<Arc<Touched>> = touched.into_iter().map(Arc::new).collect();
    let concerned: Vec<(TenantId, &Arc<Touched>)> = touched
        .iter()
        .flat_map(|touched| touched.tenants.iter().map(move |tenant| (*tenant, touched)))
        .collect();
    let names: Vec<(TenantId, &Name)> = concerned
        .iter()
        .map(|(tenant, touched)| (*tenant, &touched.name))
        .collect();
    let known = ledger::backfill::known_digests(db, &names).await?;
    Ok(concerned
        .into_iter()
        .zip(known)
        .filter(|((_, touched), known)| known.as_deref() != Some(touched.name.digest.as_str()))
        .map(|((tenant, touched), known)| {
            let doubt = Doubt {
                touched: Arc::clone(touched),
                has_other: known.is_some(),
            };
            (tenant, doubt)
        })
        .collect())
}

/// Which of a tenant's doubts are renames.
pub(crate) async fn resolve(
    target: &mut PgTransaction<'_>,
    tenant: TenantId,
    doubts: &[Doubt],
) -> Result<Names, DbError> {
    let name = |doubt: &Doubt| doubt.touched.name.clone();
    // a chunk in flight may still bring the old name, so the rows are not asked
    let mut renamed: Vec<Name> = doubts.iter().filter(|doubt| doubt.has_other).map(name).collect();
    let unknown: Vec<&Doubt> = doubts.iter().filter(|doubt| !doubt.has_other).collect();
    if !unknown.is_empty() {
        let texts: Vec<NameTexts<'_>> = unknown
            .iter()
            .map(|Doubt { touched, .. }| (touched.name.of, touched.name.id, touched.texts.as_slice()))
            .collect();
        let differing = ledger::target::list_outdated_names(target, tenant, &texts).await?;
        renamed.extend(
            differing
                .into_iter()
                .filter_map(|position| unknown.get(usize::try_from(position).ok()?))
                .map(|doubt| name(doubt)),
        );
    }
    // equal renames are equal requests
    renamed.sort();
    Ok(Names {
        renamed,
        seen: doubts.iter().map(name).collect(),
        deleted_senders: Vec::new(),
    })
}

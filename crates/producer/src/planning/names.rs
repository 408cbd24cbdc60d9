//! Finds changed names of inboxes, accounts, users and teams, which rows of the target copy. A changed name concerns many
//! rows and none is urgent, so a backfill rewrites them and no live chunk does.
//!
//! Names that were touched at the source are compared with their digests in the ledger. Every login touches a user, and must
//! cause no work. A view does not show when a name was touched, so each plan that compares digests compares all names that
//! its conversations show: the same pass over the view reads both.
//! Another digest than the recorded one is a rename. For a name without a recorded digest, the rows of the target show
//! whether it changed. Rows that were imported and never read do not count: the backfill of their inbox reads them anyway.

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
use tidemark_source::tables::TableShape;

use crate::planning::signals::inboxes::Inboxes;
use crate::planning::signals::{Signals, SourceBucket};

/// The table, the kind of its names, its texts in the order of the target's columns, and the join from its rows `n` to the
/// inboxes `m`. Users and teams are joined by their conversations.
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
/// The changed names and deleted senders that a plan found. They are written with the plan.
#[derive(Debug, Default, Clone)]
pub struct NameChanges {
    /// Names whose rows must be rewritten.
    pub(crate) renamed: Vec<Name>,
    /// Names to record in the ledger, including the renamed ones.
    pub(crate) to_record: Vec<Name>,
    /// Senders whose rows must be rewritten.
    pub(crate) deleted_senders: Vec<Sender>,
}

/// An inbox, account, user or team that was touched at the source, with its name.
#[derive(Debug)]
pub(crate) struct TouchedName {
    name: Name,
    texts: Vec<Option<String>>,
    /// Tenants with rows that may show the name.
    tenants: Vec<TenantId>,
}

impl FromRow<'_, PgRow> for TouchedName {
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

impl TouchedName {
    /// The names in a view's conversations. Takes them out of the buckets.
    pub(crate) fn take_shown(buckets: &mut [SourceBucket]) -> Vec<Self> {
        let mut shown = Vec::new();
        for bucket in buckets {
            let names = bucket.names.take().into_iter().flat_map(|Json(names)| names);
            shown.extend(names.map(|(of, id, digest, texts)| Self {
                name: Name { of, id, digest },
                texts,
                tenants: vec![bucket.tenant_id],
            }));
        }
        shown
    }
}

/// A touched name that the ledger has not, or has with another digest.
#[derive(Debug, Clone)]
pub(crate) struct SuspectedRename {
    touched: Arc<TouchedName>,
    /// Whether the ledger has another digest, or none.
    was_recorded: bool,
}

impl Signals<'_> {
    /// Names that were touched since, by the tables.
    pub(crate) async fn touched_names(
        &mut self,
        tables: &TableShape,
        inboxes: &Inboxes,
        earliest: NaiveDateTime,
    ) -> Result<Vec<TouchedName>, SourceError> {
        let parts: Vec<String> = TABLES
            .iter()
            .filter(|(table, ..)| tables.has(table, "updated_at"))
            .map(|(table, of, texts, join)| {
                format!(
                    "SELECT '{}', n.id::bigint, md5(ARRAY[{texts}]::text), to_jsonb(ARRAY[{texts}]), \
                            array_agg(DISTINCT m.tenant_id) \
                     FROM {table} n {join} WHERE n.updated_at >= $4 AND n.updated_at >= m.since GROUP BY 1, 2, 3, 4",
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
        let statement = tables.statement(&statement);
        sqlx::query_as(AssertSqlSafe(statement.as_ref()))
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

/// Compares touched names with the ledger, for each of their tenants.
pub(crate) async fn list_suspected_renames(
    db: &DbPool,
    touched: Vec<TouchedName>,
) -> Result<Vec<(TenantId, SuspectedRename)>, DbError> {
    if touched.is_empty() {
        return Ok(Vec::new());
    }
    let touched: Vec<Arc<TouchedName>> = touched.into_iter().map(Arc::new).collect();
    let concerned: Vec<(TenantId, &Arc<TouchedName>)> = touched
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
            let suspect = SuspectedRename {
                touched: Arc::clone(touched),
                was_recorded: known.is_some(),
            };
            (tenant, suspect)
        })
        .collect())
}

/// The suspected renames of a tenant that are renames.
pub(crate) async fn confirm_renames(
    target: &mut PgTransaction<'_>,
    tenant: TenantId,
    suspected: &[SuspectedRename],
) -> Result<NameChanges, DbError> {
    let name = |suspect: &SuspectedRename| suspect.touched.name.clone();
    // the rows are not checked: a chunk in flight may still write the old name
    let mut renamed: Vec<Name> = suspected
        .iter()
        .filter(|suspect| suspect.was_recorded)
        .map(name)
        .collect();
    let unknown: Vec<&SuspectedRename> = suspected.iter().filter(|suspect| !suspect.was_recorded).collect();
    if !unknown.is_empty() {
        let texts: Vec<NameTexts<'_>> = unknown
            .iter()
            .map(|SuspectedRename { touched, .. }| {
                (touched.name.of, touched.name.id, touched.texts.as_slice())
            })
            .collect();
        let differing = ledger::target::list_outdated_names(target, tenant, &texts).await?;
        renamed.extend(
            differing
                .into_iter()
                .filter_map(|position| unknown.get(usize::try_from(position).ok()?))
                .map(|suspect| name(suspect)),
        );
    }
    // sorted, so that equal lists give equal requests
    renamed.sort();
    Ok(NameChanges {
        renamed,
        to_record: suspected.iter().map(name).collect(),
        deleted_senders: Vec::new(),
    })
}

//! Names that are copied into rows: of inboxes, accounts, users and teams. When one changes, the rows that carry it are
//! many and none is urgent, so a backfill takes them and no live chunk does.
//!
//! What was touched at the source since the last look is compared with the digests in the ledger: users are touched by
//! every login, and that must cost nothing. A view does not show what was touched: all that it shows is compared.
//! Another digest than the one known is a rename. Of what is not known yet the rows tell whether they carry other names.

use chrono::NaiveDateTime;
use sqlx::postgres::{PgRow, PgTransaction};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, FromRow, Row};
use tidemark_shared::db;
use tidemark_shared::db::target::NameTexts;
use tidemark_shared::ids::TenantId;
use tidemark_shared::selection::{Name, NameOf};
use tidemark_shared::source::SourceError;

use crate::plan::PlanError;
use crate::signals::{Signals, view};

/// Table, whose names are in it, its texts in the order of the target's columns, and which of its rows concern the inboxes.
const TABLES: [(&str, NameOf, &str, &str); 4] = [
    (
        "inboxes",
        NameOf::Inbox,
        "name::text, channel_type::text, timezone::text",
        "id = ANY($1)",
    ),
    (
        "accounts",
        NameOf::Account,
        "name::text",
        "id IN (SELECT account_id FROM inboxes WHERE id = ANY($1))",
    ),
    ("users", NameOf::User, "name::text, email::text", "true"),
    ("teams", NameOf::Team, "name::text", "true"),
];
const WITH_UPDATED_AT: &str = "SELECT w.table_name FROM unnest($1::text[]) AS w (table_name) \
     JOIN pg_attribute a ON a.attrelid = to_regclass(quote_ident(w.table_name)) AND a.attname = 'updated_at' \
      AND NOT a.attisdropped WHERE has_column_privilege(a.attrelid, a.attnum, 'SELECT')";

/// What a plan found out about names; to be written with it.
#[derive(Debug, Default)]
pub struct Names {
    /// Rows that carry these are to be taken anew.
    pub(crate) renamed: Vec<Name>,
    /// New to the ledger, those renamed among them.
    pub(crate) seen: Vec<Name>,
}

/// Somebody or something touched at the source, with its names.
struct Touched {
    name: Name,
    texts: Vec<Option<String>>,
}

impl FromRow<'_, PgRow> for Touched {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            name: Name {
                of: row.try_get(0)?,
                id: row.try_get(1)?,
                digest: row.try_get(2)?,
            },
            texts: row.try_get::<Json<Vec<Option<String>>>, _>(3)?.0,
        })
    }
}

impl Signals<'_> {
    /// What was touched since and may have another name.
    async fn touched_names(&mut self, since: NaiveDateTime) -> Result<Vec<Touched>, SourceError> {
        if let Some(shape) = self.shape {
            let Some(statement) = view::names(shape) else {
                return Ok(Vec::new());
            };
            return sqlx::query_as(AssertSqlSafe(statement))
                .bind(self.inboxes)
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
            .map(|(table, of, texts, condition)| {
                format!(
                    "SELECT '{}', id::bigint, md5(ARRAY[{texts}]::text), to_jsonb(ARRAY[{texts}]) FROM {table} \
                     WHERE updated_at >= $2 AND {condition}",
                    of.as_str()
                )
            })
            .collect();
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        sqlx::query_as(AssertSqlSafe(parts.join(" UNION ALL ")))
            .bind(self.inboxes)
            .bind(since)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look for changed names"))
    }

    /// Which names have changed since.
    pub(crate) async fn names(
        &mut self,
        target: &mut PgTransaction<'_>,
        tenant: TenantId,
        since: NaiveDateTime,
    ) -> Result<Names, PlanError> {
        let touched = self.touched_names(since).await?;
        if touched.is_empty() {
            return Ok(Names::default());
        }
        let names: Vec<&Name> = touched.iter().map(|touched| &touched.name).collect();
        let known = db::backfill::known_digests(&mut **target, tenant, &names).await?;
        let mut found = Names::default();
        let mut unknown = Vec::new();
        for (touched, known) in touched.iter().zip(known) {
            match known {
                Some(digest) if digest == touched.name.digest => continue,
                // a chunk in flight may still bring the old name, so the rows are not asked
                Some(_) => found.renamed.push(touched.name.clone()),
                None => unknown.push(touched),
            }
            found.seen.push(touched.name.clone());
        }
        if !unknown.is_empty() {
            let texts: Vec<NameTexts<'_>> = unknown
                .iter()
                .map(|touched| (touched.name.of, touched.name.id, touched.texts.as_slice()))
                .collect();
            let differing = db::target::carry_others(target, tenant, &texts).await?;
            let differing = differing
                .into_iter()
                .filter_map(|position| unknown.get(usize::try_from(position).ok()?));
            found
                .renamed
                .extend(differing.map(|touched| touched.name.clone()));
        }
        // equal renames are equal requests
        found.renamed.sort();
        Ok(found)
    }
}

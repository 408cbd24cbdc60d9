//! The same rows with psql: the floor, and the ways of other programs.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::site::{Site, psql};

/// The site, the file of rows, and the ids of the tenant's inboxes.
pub struct Floor {
    site: Site,
    file: std::path::PathBuf,
    inboxes: String,
}

const COLUMNS: &str = "string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)";

impl Floor {
    /// Takes the finished rows from a synced target.
    pub async fn prepare(site: &Site) -> Result<Self> {
        let mut source = site.on_source().await?;
        let inboxes =
            sqlx::query_scalar("SELECT string_agg(id::text, ',') FROM inboxes WHERE account_id = 1")
                .fetch_one(&mut source)
                .await?;
        let file = std::env::temp_dir().join(format!("tidemark-bench-{}.rows", std::process::id()));
        let mut target = site.on_target().await?;
        let copy = format!(
            "\\copy (SELECT {} FROM conversations_analytics WHERE tenant_id = 1 ORDER BY conversation_id) \
             TO '{}' (FORMAT binary)",
            all_columns(&mut target, "conversations_analytics").await?,
            file.display()
        );
        psql(&site.target, &[copy]).await?;
        Ok(Self {
            site: site.clone(),
            file,
            inboxes,
        })
    }

    /// One step after the other: reads the joined conversations and the messages, stages the finished rows, and
    /// upserts them into an empty table with the target's indexes.
    pub async fn serial(&self) -> Result<f64> {
        let read = [
            format!(
                "\\copy (SELECT c.*, a.name, i.name, i.channel_type, i.timezone, u.name, u.email, t.name, k.name, k.email, \
                 k.phone_number, k.identifier, s.* FROM conversations c LEFT JOIN accounts a ON a.id = c.account_id \
                 LEFT JOIN inboxes i ON i.id = c.inbox_id LEFT JOIN users u ON u.id = c.assignee_id \
                 LEFT JOIN teams t ON t.id = c.team_id LEFT JOIN contacts k ON k.id = c.contact_id \
                 LEFT JOIN (SELECT DISTINCT ON (conversation_id) * FROM csat_survey_responses \
                 ORDER BY conversation_id, created_at DESC, id DESC) s ON s.conversation_id = c.id \
                 WHERE c.inbox_id IN ({}) ORDER BY c.id) TO '/dev/null' (FORMAT binary)",
                self.inboxes
            ),
            format!(
                "\\copy (SELECT m.conversation_id, m.id, m.content, m.sender_type, m.sender_id, m.created_at, m.message_type, \
                 m.content_type, m.status, m.private, m.sentiment, m.source_id FROM messages m \
                 JOIN conversations c ON c.id = m.conversation_id WHERE c.inbox_id IN ({}) \
                 ORDER BY m.conversation_id, m.created_at, m.id) TO '/dev/null' (FORMAT binary)",
                self.inboxes
            ),
        ];
        self.empty("floor").await?;
        let read = psql(&self.site.source, &read).await?;
        Ok(read + self.load("floor", "").await?)
    }

    /// Queries the view key by key, as Tidemark does, and stages and upserts its rows.
    pub async fn lateral(&self) -> Result<f64> {
        self.view_load(&format!(
            "SELECT DISTINCT ON (v.conversation_id) v.* FROM conversations k CROSS JOIN LATERAL \
             (SELECT * FROM vw_conversations_analytics_final f WHERE f.conversation_id = k.id OFFSET 0) v \
             WHERE k.inbox_id IN ({})",
            self.inboxes
        ))
        .await
    }

    /// Queries the whole view.
    pub async fn plain_view(&self) -> Result<f64> {
        self.view_load(&format!(
            "SELECT DISTINCT ON (v.conversation_id) v.* FROM vw_conversations_analytics_final v WHERE v.inbox_id IN ({})",
            self.inboxes
        ))
        .await
    }

    async fn view_load(&self, query: &str) -> Result<f64> {
        let definition = self.view_definition().await?;
        let make = format!(
            "DROP TABLE IF EXISTS bench_view, bench_view_staging; \
             CREATE TABLE bench_view ({definition}, PRIMARY KEY (conversation_id)); \
             CREATE INDEX ON bench_view (inbox_id); CREATE INDEX ON bench_view (conversation_created_at); \
             CREATE UNLOGGED TABLE bench_view_staging ({definition}); CHECKPOINT"
        );
        psql(&self.site.target, &[make]).await?;
        let file = self.file.with_extension("view");
        let read = format!("\\copy ({query}) TO '{}' (FORMAT binary)", file.display());
        let mut took = psql(&self.site.source, &["SET jit = off".to_owned(), read]).await?;
        let sets = self.view_sets().await?;
        took += psql(
            &self.site.target,
            &[
                format!("\\copy bench_view_staging FROM '{}' (FORMAT binary)", file.display()),
                format!(
                    "INSERT INTO bench_view SELECT * FROM bench_view_staging ON CONFLICT (conversation_id) DO UPDATE SET {sets}"
                ),
            ],
        )
        .await?;
        std::fs::remove_file(file)?;
        Ok(took)
    }

    async fn view_definition(&self) -> Result<String> {
        Ok(sqlx::query_scalar(
            "SELECT string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) \
             FROM pg_attribute WHERE attrelid = 'vw_conversations_analytics_final'::regclass AND attnum > 0",
        )
        .fetch_one(&mut self.site.on_source().await?)
        .await?)
    }

    async fn view_sets(&self) -> Result<String> {
        sets(&mut self.site.on_target().await?, "bench_view").await
    }

    /// LIMIT and OFFSET over the view, with one upsert for each row. Measures the first and the last page of `size`
    /// rows, and takes their mean for the others. COPY brings the rows of a page to the server; then a prepared
    /// statement upserts each row, in one transaction.
    pub async fn old_way(&self, rows: u64, size: u64) -> Result<f64> {
        let pages = rows.div_ceil(size);
        let first = self.old_page(0, size).await?;
        let last = self.old_page((pages - 1) * size, size).await?;
        // an empty page ends the old way's loop
        let empty = self.old_page(pages * size, size).await?;
        #[expect(clippy::cast_precision_loss, reason = "a number of pages")]
        Ok(f64::midpoint(first, last) * pages as f64 + empty)
    }

    async fn old_page(&self, offset: u64, size: u64) -> Result<f64> {
        let definition = self.view_definition().await?;
        let make = format!(
            "DROP TABLE IF EXISTS bench_view, bench_view_staging; CREATE TABLE bench_view ({definition}, \
             PRIMARY KEY (conversation_id)); CREATE UNLOGGED TABLE bench_view_staging ({definition}); \
             CREATE INDEX ON bench_view_staging (conversation_id)"
        );
        psql(&self.site.target, &[make]).await?;
        let sets = self.view_sets().await?;
        let file = self.file.with_extension("view");
        let upserts = self.file.with_extension("upserts");
        let read = format!(
            "\\copy (SELECT * FROM vw_conversations_analytics_final WHERE inbox_id IN ({}) \
             ORDER BY conversation_created_at LIMIT {size} OFFSET {offset}) TO '{}' (FORMAT binary)",
            self.inboxes,
            file.display()
        );
        let mut took = psql(&self.site.source, &[read]).await?;
        took += psql(
            &self.site.target,
            &[format!(
                "\\copy bench_view_staging FROM '{}' (FORMAT binary)",
                file.display()
            )],
        )
        .await?;
        psql(
            &self.site.target,
            &[
                "ANALYZE bench_view_staging".to_owned(),
                format!(
                    "\\copy (SELECT format('EXECUTE upsert(%s);', conversation_id) FROM bench_view_staging) TO '{}'",
                    upserts.display()
                ),
            ],
        )
        .await?;
        took += psql(
            &self.site.target,
            &[
                "BEGIN".to_owned(),
                format!(
                    "PREPARE upsert(bigint) AS INSERT INTO bench_view SELECT * FROM bench_view_staging \
                     WHERE conversation_id = $1 LIMIT 1 ON CONFLICT (conversation_id) DO UPDATE SET {sets}"
                ),
                format!("\\i {}", upserts.display()),
                "COMMIT".to_owned(),
            ],
        )
        .await?;
        std::fs::remove_file(file)?;
        std::fs::remove_file(upserts)?;
        Ok(took)
    }

    /// Creates an empty table like the target, and a staging table for it.
    pub async fn empty(&self, name: &str) -> Result<()> {
        psql(&self.site.target, &[
            format!("DROP TABLE IF EXISTS bench_{name}, bench_{name}_staging"),
            format!("CREATE TABLE bench_{name} (LIKE conversations_analytics INCLUDING ALL)"),
            format!("CREATE UNLOGGED TABLE bench_{name}_staging (LIKE conversations_analytics INCLUDING COMPRESSION)"),
            "CHECKPOINT".to_owned(),
        ])
        .await
        .map(drop)
    }

    /// Stages the finished rows and upserts them, after this setting of the session.
    pub async fn load(&self, name: &str, setting: &str) -> Result<f64> {
        Ok(self.stage(name, setting).await? + self.upsert(name).await?)
    }

    pub async fn stage(&self, name: &str, setting: &str) -> Result<f64> {
        let copy = format!(
            "\\copy bench_{name}_staging FROM '{}' (FORMAT binary)",
            self.file.display()
        );
        let setting = if setting.is_empty() { "SELECT" } else { setting };
        psql(&self.site.target, &[setting.to_owned(), copy]).await
    }

    pub async fn upsert(&self, name: &str) -> Result<f64> {
        let table = format!("bench_{name}");
        let sets = sets(&mut self.site.on_target().await?, &table).await?;
        psql(&self.site.target, &[format!(
            "INSERT INTO {table} SELECT * FROM {table}_staging ON CONFLICT (tenant_id, conversation_id) DO UPDATE SET {sets}"
        )])
        .await
    }

    /// Writes the same rows as text into another file.
    pub async fn text_file(&self, limit: u64) -> Result<std::path::PathBuf> {
        let file = self.file.with_extension("text");
        let copy = format!(
            "\\copy (SELECT * FROM conversations_analytics WHERE tenant_id = 1 ORDER BY conversation_id LIMIT {limit}) TO '{}'",
            file.display()
        );
        psql(&self.site.target, &[copy]).await?;
        Ok(file)
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // if the file cannot be removed, it stays in the folder of temporary files
        drop(std::fs::remove_file(&self.file));
    }
}

async fn all_columns(target: &mut PgConnection, table: &str) -> Result<String> {
    let statement = format!(
        "SELECT {COLUMNS} FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1"
    );
    let columns: Option<String> = sqlx::query_scalar(AssertSqlSafe(statement))
        .bind(table)
        .fetch_one(target)
        .await?;
    columns.context("the table has columns")
}

/// `a = EXCLUDED.a, …` for every column.
async fn sets(target: &mut PgConnection, table: &str) -> Result<String> {
    let columns = all_columns(target, table).await?;
    Ok(columns
        .split(", ")
        .map(|column| format!("{column} = EXCLUDED.{column}"))
        .collect::<Vec<_>>()
        .join(", "))
}

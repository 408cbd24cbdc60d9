//! The ledger's statements and tables.

use std::collections::BTreeMap;

use anyhow::ensure;
use sqlx::postgres::types::Oid;
use sqlx::{Column, Executor, SqlSafeStr, Statement};
use tidemark_ledger::all_statements;
use tidemark_ledger::migrations::objects_in_the_way;
use tidemark_ledger::tables::TABLES;
use tidemark_worker::row::columns::COLUMNS;

use crate::stage::on_stage;

#[tokio::test]
async fn every_control_statement_prepares_on_a_migrated_database() {
    on_stage(|stage| async move {
        let mut count = 0;
        for (name, text) in all_statements() {
            let prepared = stage.target.prepare(text.into_sql_str()).await;
            ensure!(prepared.is_ok(), "{name}: {:?}", prepared.err());
            count += 1;
        }
        ensure!(count > 40, "only {count} statements are known");
        Ok(())
    })
    .await;
}

/// The driver asks the catalog for each type that PostgreSQL does not come with, once in every session, and that takes longer than
/// most statements.
#[tokio::test]
async fn statements_take_and_return_only_types_that_the_driver_knows() {
    on_stage(|stage| async move {
        const FIRST_OF_OURS: u32 = 16384;
        let is_ours = |oid: Option<Oid>| oid.is_none_or(|oid| oid.0 >= FIRST_OF_OURS);
        let mut wrong = Vec::new();
        for (name, text) in all_statements() {
            let prepared = stage.target.prepare(text.into_sql_str()).await?;
            let types = prepared
                .parameters()
                .and_then(|types| types.left())
                .unwrap_or(&[]);
            let parameters = types.iter().zip(1..).filter(|(found, _)| is_ours(found.oid()));
            wrong.extend(parameters.map(|(found, n)| format!("{name}: ${n} is {found}")));
            let columns = prepared
                .columns()
                .iter()
                .filter(|column| is_ours(column.type_info().oid()));
            wrong
                .extend(columns.map(|column| format!("{name}: {} is {}", column.name(), column.type_info())));
        }
        ensure!(wrong.is_empty(), "cast these to text:\n{}", wrong.join("\n"));
        Ok(())
    })
    .await;
}

/// Isolation, backup and doctor look at these tables, and at no other.
#[tokio::test]
async fn the_list_of_tables_has_every_table_of_the_migrations() {
    on_stage(|stage| async move {
        let found: Vec<String> = sqlx::query_scalar(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') \
               AND relname <> '_sqlx_migrations' ORDER BY relname COLLATE \"C\"",
        )
        .fetch_all(&stage.target)
        .await?;
        ensure!(found == TABLES, "crates/ledger/src/tables.rs is not {found:?}");
        // what else could meet an object of the same name: each is found if it is somebody else's
        let mut others = objects_in_the_way(&mut *stage.target.acquire().await?).await?.names;
        others.retain(|name| !TABLES.contains(&name.as_str()));
        let made: Vec<String> = sqlx::query_scalar(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'v' \
             UNION SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype = 'e' \
             UNION SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
        )
        .fetch_all(&stage.target)
        .await?;
        others.sort();
        ensure!(others == made, "crates/ledger/src/tables.rs has {others:?}, not {made:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_list_of_columns_is_the_table() {
    on_stage(|stage| async move {
        let table: BTreeMap<String, String> = sqlx::query_as::<_, (String, String)>(
            "SELECT attname::text, replace(format_type(atttypid, atttypmod), 'character varying', 'varchar') \
             FROM pg_attribute WHERE attrelid = 'conversations_analytics'::regclass AND attnum > 0 AND NOT attisdropped",
        )
        .fetch_all(&stage.target)
        .await?
        .into_iter()
        .collect();
        for column in COLUMNS {
            let sql_type = column.sql_type.replace("timestamptz", "timestamp with time zone");
            ensure!(
                table.get(column.name) == Some(&sql_type),
                "the list has {} {sql_type}, the table {:?}",
                column.name,
                table.get(column.name)
            );
        }
        let further: Vec<&String> = table
            .keys()
            .filter(|name| COLUMNS.iter().all(|column| column.name != *name))
            .collect();
        ensure!(
            further
                == [
                    "contact_digest",
                    "etl_inserted_at",
                    "etl_run_id",
                    "etl_updated_at",
                    "related_digest",
                    "row_digest",
                    "row_hash",
                    "source_deleted_at",
                    "source_digest",
                    "source_epoch",
                    "source_extracted_at",
                    "source_in_progress",
                    "source_xmax",
                ],
            "{further:?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_tenant_has_one_open_run_and_a_terminal_run_has_its_end() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let open = "INSERT INTO etl_control (tenant_id, type, triggered_by) VALUES (1, 'full', 'test')";
        stage.target.execute(open).await?;
        let again = stage.target.execute(open).await.unwrap_err();
        let constraint = again
            .as_database_error()
            .and_then(|error| error.constraint())
            .unwrap_or_default();
        ensure!(constraint == "etl_control_one_open_idx", "{again}");
        let ended = stage
            .target
            .execute("UPDATE etl_control SET status = 'success'")
            .await
            .unwrap_err();
        let constraint = ended
            .as_database_error()
            .and_then(|error| error.constraint())
            .unwrap_or_default();
        ensure!(constraint == "etl_control_finished", "{ended}");
        Ok::<(), anyhow::Error>(())
    })
    .await;
}

#[tokio::test]
async fn large_columns_are_compressed_with_lz4_where_the_server_has_it() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 5).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let has_lz4: Option<bool> = sqlx::query_scalar(
            "SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'",
        )
        .fetch_optional(&stage.target)
        .await?;
        // before PostgreSQL 14 there is nothing to choose, and no function to ask: the sync has loaded all the same
        let Some(has_lz4) = has_lz4 else {
            let loaded: i64 = sqlx::query_scalar("SELECT count(*) FROM conversations_analytics")
                .fetch_one(&stage.target)
                .await?;
            ensure!(loaded > 0, "nothing was loaded");
            return Ok(());
        };
        let methods: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT pg_column_compression(message_compiled) FROM conversations_analytics \
             WHERE pg_column_compression(message_compiled) IS NOT NULL",
        )
        .fetch_all(&stage.target)
        .await?;
        ensure!(methods == [if has_lz4 { "lz4" } else { "pglz" }], "{methods:?}");
        Ok(())
    })
    .await;
}

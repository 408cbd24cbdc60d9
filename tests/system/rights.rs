//! What each role may do, read from the catalog, so that a table which a migration forgets is noticed.

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tidemark_ledger::connect::{ActAs, pool_as};
use tidemark_ledger::run::NewRun;
use tidemark_ledger::{cancel, isolation, privacy, run, tenant_lifecycle};
use tidemark_net::url::ServerUrl;
use tidemark_postgres::connect::DatabasePooler;
use tidemark_shared::audit::Actor;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::{RunRequest, RunType};

use crate::stage::{Stage, on_stage};

/// All rights of a role on relations outside the system's schemas: `table privileges`, or `table (columns)
/// privileges`.
const RIGHTS: &str = include_str!("rights/of_role.sql");

async fn rights(stage: &Stage, role: &str) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(RIGHTS)
        .bind(role)
        .fetch_all(&stage.target)
        .await?)
}

async fn list(stage: &Stage, query: &'static str) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(query).fetch_all(&stage.target).await?)
}

#[tokio::test]
async fn roles_have_the_rights_that_they_need_and_no_other() {
    on_stage(|stage| async move {
        let dashboards = rights(&stage, "authenticated_users").await?;
        let runs = "etl_control (chunks_dead,chunks_done,chunks_total,finished_at,id,records_deleted,records_extracted,\
                    records_inserted,records_rejected,records_stale,records_unchanged,records_updated,requested_at,\
                    started_at,status,tenant_id,type,watermark_end,watermark_start) SELECT";
        ensure!(
            dashboards
                == [
                    "conversation_change SELECT",
                    "conversation_daily SELECT",
                    "conversation_feed SELECT",
                    "conversations_analytics SELECT",
                    "conversations_analytics_live SELECT",
                    runs,
                    "etl_watermark (checked_at,tenant_id,watermark) SELECT",
                    "messages_live SELECT",
                    "reporting_events_live SELECT",
                    "tenant_login (login,tenant_id) SELECT",
                    "tenants (id,name,timezone) SELECT"
                ],
            "{dashboards:#?}"
        );
        // a consumer writes only tables that the owner makes for it in the schema `enrichment`
        let writers = rights(&stage, "enrichment_writer").await?;
        ensure!(
            writers
                == [
                    "conversation_change SELECT",
                    "conversation_feed SELECT",
                    "conversations_analytics SELECT",
                    "conversations_analytics_live SELECT",
                    "messages_live SELECT",
                    "reporting_events_live SELECT",
                    "tenant_login (login,tenant_id) SELECT",
                    "tenants (id,name,timezone) SELECT"
                ],
            "{writers:#?}"
        );
        let marked = rights(&stage, "bound_users").await?;
        ensure!(marked == ["tenant_login (login,tenant_id) SELECT"], "{marked:#?}");
        let admins = rights(&stage, "admin_users").await?;
        ensure!(
            admins.len() > 10 && admins.iter().all(|right| right.ends_with(" SELECT")),
            "{admins:#?}"
        );
        let service = rights(&stage, "etl_service").await?;
        let forgetting = [
            "conversation_change",
            "conversation_daily",
            "conversations_analytics",
            "etl_action_audit",
            "etl_bulk",
            "etl_bulk_item",
            "etl_chunk",
            "etl_control",
            "etl_fence",
            "etl_name",
            "etl_process",
            "etl_rejected_row",
            "etl_sender",
            "etl_unsynced_inbox",
            "etl_verification_fault",
            "etl_verification_part",
            "etl_watermark_audit",
            "etl_webhook",
            "etl_webhook_condition",
            "etl_webhook_delivery",
            "etl_withheld_conversation",
            "tenant_login",
        ];
        for right in &service {
            let (table, what) = right.split_once(' ').unwrap_or_default();
            ensure!(
                !["TRUNCATE", "REFERENCES", "TRIGGER", "("].iter().any(|one| what.contains(one)),
                "{right}"
            );
            ensure!(
                !what.contains("DELETE") || forgetting.contains(&table),
                "list here who deletes from {table}"
            );
        }
        // the console's own tables are no business of the processes
        let mut console = rights(&stage, "console_service").await?;
        console.retain(|right| !right.starts_with("console_"));
        let expected: Vec<String> = service
            .iter()
            .map(|right| match right.split_once(' ') {
                Some(("etl_action_audit", _)) => "etl_action_audit INSERT,SELECT".to_owned(),
                _ => right.clone(),
            })
            .collect();
        ensure!(console == expected, "{console:#?}");

        let open = list(
            &stage,
            "SELECT DISTINCT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
             WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace \
               AND (a.attname = 'tenant_id' OR c.relname = 'tenants') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
        )
        .await?;
        ensure!(open.is_empty(), "row-level security is not forced on {open:?}");
        let powers = list(
            &stage,
            "SELECT rolname::text FROM pg_roles WHERE rolname IN ('etl_service', 'console_service', 'authenticated_users', 'admin_users', 'bound_users', 'enrichment_writer') \
               AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolcanlogin OR rolreplication)",
        )
        .await?;
        ensure!(powers.is_empty(), "{powers:?} can do more than they should");
        let definers = list(
            &stage,
            "SELECT proname::text FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace",
        )
        .await?;
        ensure!(definers.is_empty(), "{definers:?} act as their owner");
        Ok(())
    })
    .await;
}

/// The answer to a query, or the SQLSTATE of its error.
async fn ask(connection: &mut PgConnection, question: &str) -> Result<String> {
    let answer = sqlx::query_scalar::<_, String>(AssertSqlSafe(question))
        .fetch_one(connection)
        .await;
    match answer {
        Ok(answer) => Ok(answer),
        Err(sqlx::Error::Database(error)) => Ok(error.code().unwrap_or_default().into_owned()),
        Err(error) => Err(error.into()),
    }
}

/// A tenant's dashboard, with logins without superuser rights.
async fn dashboards(stage: &Stage, login: &str, admin: &str) -> Result<()> {
    let as_login = |name: &str| -> Result<String> {
        let mut url: url::Url = stage.owner_url("target").parse()?;
        let named = url.set_username(name).and_then(|()| url.set_password(Some(name)));
        ensure!(named.is_ok(), "a URL takes a user");
        Ok(url.into())
    };
    let questions = [
        "SELECT count(*)::text FROM conversations_analytics",
        "SELECT count(*)::text FROM conversations_analytics_live",
        "SELECT count(*)::text FROM conversations_analytics WHERE conversation_date >= CURRENT_DATE - 30",
        "SELECT coalesce(round(avg(csat_rating), 2)::text, '-') FROM conversations_analytics_live \
         WHERE conversation_date >= CURRENT_DATE - 30 AND has_csat",
        "SELECT count(*)::text FROM etl_control WHERE status = 'success' AND records_extracted > 0",
    ];
    // as a superuser, who sees everything
    let of_tenant = |question: &str, tenant: i32| {
        let and = if question.contains("WHERE") {
            "AND"
        } else {
            "WHERE"
        };
        format!("{question} {and} tenant_id = {tenant}")
    };
    let mut owner = stage.target.acquire().await?;
    let mut reader = PgConnection::connect(&as_login(login)?).await?;
    reader.execute("SET ROLE authenticated_users").await?;
    let freshness = "SELECT t.name || w.watermark::text || w.checked_at::text FROM tenants t \
                     JOIN etl_watermark w ON w.tenant_id = t.id";
    for tenant in [1, 2, 1] {
        sqlx::query(AssertSqlSafe(format!("SET app.current_tenant_id = {tenant}")))
            .execute(&mut reader)
            .await?;
        for question in questions {
            let (seen, there) = (
                ask(&mut reader, question).await?,
                ask(&mut owner, &of_tenant(question, tenant)).await?,
            );
            ensure!(seen == there, "{question} of {tenant}: {seen}, not {there}");
        }
        let seen: Vec<String> = sqlx::query_scalar(freshness).fetch_all(&mut reader).await?;
        let there = ask(&mut owner, &format!("{freshness} WHERE t.id = {tenant}")).await?;
        ensure!(seen == [there], "the freshness of {tenant}: {seen:?}");
    }
    for internal in [
        "SELECT error_details::text FROM etl_control",
        "SELECT request::text FROM etl_control",
        "SELECT trace_id FROM etl_control",
        "SELECT slug FROM tenants",
        "SELECT worker_id FROM etl_chunk",
        "SELECT next_due_at::text FROM etl_watermark",
        "SELECT error FROM etl_rejected_row",
        "SELECT inbox_name FROM inbox_tenant_mapping",
        "SELECT host FROM etl_process",
        "SELECT version::text FROM _sqlx_migrations",
        "UPDATE conversations_analytics SET status = 0 RETURNING status::text",
        "DELETE FROM conversations_analytics RETURNING status::text",
        "SET ROLE etl_service",
        "SET ROLE admin_users",
    ] {
        let answer = ask(&mut reader, internal).await?;
        ensure!(answer == "42501", "{internal}: {answer}");
    }
    let mut all = PgConnection::connect(&as_login(admin)?).await?;
    all.execute("SET ROLE admin_users").await?;
    for question in questions {
        let (seen, there) = (ask(&mut all, question).await?, ask(&mut owner, question).await?);
        ensure!(seen == there, "{question} of all: {seen}, not {there}");
    }
    reader.close().await?;
    all.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_dashboard_sees_its_tenants_rows_and_runs_and_admins_see_all() {
    on_stage(|stage| async move {
        stage.sample(300, 2, 19).await?;
        stage.sync_local(&["--all"]).await?;
        let (login, admin) = (stage.database("reader"), stage.database("admin"));
        let create = format!(
            "CREATE ROLE {login} LOGIN PASSWORD '{login}' IN ROLE authenticated_users; \
             CREATE ROLE {admin} LOGIN PASSWORD '{admin}' IN ROLE admin_users"
        );
        stage.target.execute(AssertSqlSafe(create)).await?;
        let outcome = dashboards(&stage, &login, &admin).await;
        let drop = format!("DROP ROLE {login}; DROP ROLE {admin}");
        stage.target.execute(AssertSqlSafe(drop)).await?;
        outcome
    })
    .await;
}

#[tokio::test]
async fn the_console_acts_as_its_own_role_and_removes_nothing_of_the_audit() {
    on_stage(|stage| async move {
        stage.sample(60, 2, 20).await?;
        stage.sync_local(&["--all"]).await?;
        let url = ServerUrl::from(stage.url("target").as_str());
        let db = pool_as(ActAs::Console, &url, "console", 2, DatabasePooler::None).await?;
        let role: String = sqlx::query_scalar("SELECT current_user::text").fetch_one(&db).await?;
        ensure!(role == "console_service", "{role}");
        let found = isolation::check(&db).await?;
        ensure!(isolation::refusal(&found).is_none(), "{found:#?}");

        // on the ledger and on the rows of one tenant, as the commands do
        let ana = Actor::console("ana", Some("192.0.2.7".to_owned()));
        let (tenant, other) = (TenantId(1), TenantId(2));
        ensure!(tenant_lifecycle::pause(&db, &ana, tenant, "moving").await?);
        ensure!(tenant_lifecycle::resume(&db, &ana, tenant).await?);
        let run = NewRun {
            tenant_id: tenant,
            run_type: RunType::Resync,
            triggered_by: ana.as_str().to_owned(),
            reason: None,
            request: RunRequest::default(),
            trace_id: None,
            traceparent: None,
        };
        let requested = run::request_for(&db, &ana, &run).await?;
        cancel::run(&db, &ana, requested.run_id(), Some("enough")).await?;
        let contact: i64 = sqlx::query_scalar("SELECT min(contact_id) FROM conversations_analytics WHERE tenant_id = 1")
            .fetch_one(&stage.target)
            .await?;
        let forgotten = privacy::forget(&db, &ana, tenant, contact, &run).await?;
        ensure!(forgotten.removed > 0, "{forgotten:?}");
        ensure!(tenant_lifecycle::remove(&db, &ana, other).await?.is_some());
        let recorded: Vec<String> = sqlx::query_scalar(
            "SELECT action FROM etl_action_audit WHERE actor = 'console:ana' AND origin = '192.0.2.7' ORDER BY id",
        )
        .fetch_all(&stage.target)
        .await?;
        for action in ["tenant.pause", "tenant.resume", "run.request", "run.cancel", "contact.forget", "tenant.remove"] {
            ensure!(recorded.iter().any(|one| one == action), "{action}: {recorded:?}");
        }
        for forged in [
            "DELETE FROM etl_action_audit RETURNING actor",
            "UPDATE etl_action_audit SET actor = 'cli:nobody' RETURNING actor",
            "TRUNCATE etl_action_audit",
        ] {
            let refused = db.execute(forged).await;
            let code = refused.err().and_then(|error| error.as_database_error()?.code().map(|code| code.into_owned()));
            ensure!(code.as_deref() == Some("42501"), "{forged}: {code:?}");
        }
        db.connections().close().await;
        Ok(())
    })
    .await;
}

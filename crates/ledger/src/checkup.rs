//! Checks the analytics database: its server and login, and the state that the ledger records.

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, FromRow, PgConnection, PgExecutor};
use tidemark_net::tls::Exposure;
use tidemark_net::url::ServerUrl;
use tidemark_postgres::Connector;
use tidemark_postgres::connect;
use tidemark_postgres::connect::DatabasePooler;
use tidemark_postgres::connect::{ClockReading, ConnectError, KEEPALIVE, read_clock};
use tidemark_postgres::ident::quote;
use tidemark_postgres::report::report;
use tidemark_runtime::finding::{Check, Finding, Found, encryption_finding};
use tidemark_shared::ids::{RunId, TenantId};

use crate::migrations::{Schema, applied_migrations, schema};
use crate::stored::Stored;
use crate::tables::TABLES;
use crate::{Attempt, DbResult, backup, encoding, statements};

statements! {
    // a later run of the same type has replaced the dead chunks' work
    DEAD_CHUNKS = "SELECT r.tenant_id, r.id AS run_id, count(*) AS count FROM etl_chunk c JOIN etl_control r ON r.id = c.run_id \
                   WHERE c.status = 'dead' AND NOT EXISTS (SELECT FROM etl_control l WHERE l.tenant_id = r.tenant_id \
                       AND l.id > r.id AND l.type = r.type AND l.status IN ('success', 'partial')) \
                     AND EXISTS (SELECT FROM tenants t WHERE t.id = r.tenant_id AND t.deleted_at IS NULL) \
                   GROUP BY 1, 2 ORDER BY 1, 2";
    OPEN_REJECTS = "SELECT tenant_id, count(*) AS count FROM etl_rejected_row WHERE resolved_at IS NULL \
                      AND tenant_id IN (SELECT id FROM tenants WHERE deleted_at IS NULL) GROUP BY 1 ORDER BY 1";
    // only tenants that were synced
    VERIFIED = "SELECT t.id AS tenant_id, v.verified_at IS NULL AS never, \
                       coalesce(v.verified_at < now() - interval '30 days', false) AS long_ago, \
                       coalesce(v.missing + v.extra + v.stale + v.different > 0, false) AS differs \
                FROM tenants t JOIN etl_watermark w ON w.tenant_id = t.id AND w.watermark IS NOT NULL \
                LEFT JOIN etl_verification v ON v.tenant_id = t.id WHERE t.deleted_at IS NULL ORDER BY t.id";
}

// $1 changed rows from which on statistics matter
const STALE_STATISTICS: &str = "SELECT format('%I.%I', schemaname, relname), n_mod_since_analyze \
     FROM pg_stat_all_tables WHERE relid = to_regclass('conversations_analytics') \
       AND n_mod_since_analyze > greatest($1, n_live_tup / 2)";
/// A plan over fewer rows is quick whatever the planner assumes.
const MANY_CHANGED_ROWS: i64 = 10_000;

const MAY_ACT_AS_CONSOLE: &str = "SELECT pg_has_role('console_service', CASE \
    WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END)";

/// Timeout of one statement.
const STATEMENT_TIMEOUT: &str = "10s";
const OLDEST_VERSION: i32 = 130_000;
/// An unused replication slot is reported when it keeps more WAL than this.
const SLOT_BYTES: i64 = 1 << 30;

/// Dead chunks of a run that no later run has replaced.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct DeadChunks {
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    #[sqlx(try_from = "Stored<RunId>")]
    pub run_id: RunId,
    pub count: i64,
}

/// When a tenant was last compared with its source.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Verified {
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    pub never: bool,
    pub long_ago: bool,
    pub differs: bool,
}

pub async fn dead_chunks(db: impl PgExecutor<'_>) -> DbResult<Vec<DeadChunks>> {
    sqlx::query_as(DEAD_CHUNKS)
        .fetch_all(db)
        .await
        .attempt("count dead chunks")
}

/// Tenants with rejects, and how many rejects each has.
pub async fn open_rejects(db: impl PgExecutor<'_>) -> DbResult<Vec<(TenantId, i64)>> {
    sqlx::query_as(OPEN_REJECTS)
        .fetch_all(db)
        .await
        .map(|found: Vec<(Stored<TenantId>, i64)>| {
            found
                .into_iter()
                .map(|(Stored(tenant), count)| (tenant, count))
                .collect()
        })
        .attempt("count the rejects")
}

/// The last verification of every tenant that was synced.
pub async fn verified(db: impl PgExecutor<'_>) -> DbResult<Vec<Verified>> {
    sqlx::query_as(VERIFIED)
        .fetch_all(db)
        .await
        .attempt("list when tenants were last compared")
}

/// What a check of the server finds out.
#[derive(Debug, Default)]
pub struct ServerState {
    pub clock: Option<ClockReading>,
    /// The ledger can be queried: it is migrated, and the login has the rights.
    pub is_usable: bool,
}

/// Checks the server and the login, and adds its findings.
pub async fn check_up(
    url: &ServerUrl,
    pooler: DatabasePooler,
    state: &mut ServerState,
    findings: &mut Vec<Finding>,
) {
    let (mut connection, exposure) = match open(url, pooler).await {
        Ok(opened) => opened,
        Err(error) => {
            findings.push(Finding::error(Check::Connection, Found::Connect(Arc::new(error))));
            return;
        }
    };
    findings.push(encryption_finding(exposure, connect::SSL_MODE));
    state.clock = read_clock(&mut connection).await.ok();
    let looked = examine(&mut connection, state, findings).await;
    if let Err(error) = looked {
        findings.push(Finding::error(Check::Connection, Found::Failed(report(&error))));
    }
    drop(connection.close().await);
}

async fn open(
    url: &ServerUrl,
    pooler: DatabasePooler,
) -> Result<(PgConnection, Option<Exposure>), ConnectError> {
    let connector = Connector::new(url, "the analytics database", true, |options| {
        options.application_name("tidemark doctor")
    })?;
    let connection = match pooler {
        DatabasePooler::Transaction => connector.probe_pooler().await?,
        DatabasePooler::None => {
            let settings = |options: PgConnectOptions| {
                options
                    .options([
                        ("TimeZone", "UTC"),
                        ("default_transaction_read_only", "on"),
                        ("statement_timeout", STATEMENT_TIMEOUT),
                        ("lock_timeout", "2s"),
                    ])
                    .options(KEEPALIVE)
            };
            connector.probe_with(settings).await?
        }
    };
    Ok((connection, connector.exposure()))
}

async fn examine(
    connection: &mut PgConnection,
    state: &mut ServerState,
    findings: &mut Vec<Finding>,
) -> Result<(), sqlx::Error> {
    let (number, version, timezone, login, autovacuum, used, most): (i32, String, String, String, bool, i64, i64) =
        sqlx::query_as(
            "SELECT current_setting('server_version_num')::integer, current_setting('server_version'), \
                    current_setting('TimeZone'), current_user::text, current_setting('autovacuum')::boolean, \
                    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), \
                    current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint",
        )
        .fetch_one(&mut *connection)
        .await?;
    findings.push(match number {
        ..OLDEST_VERSION => Finding::error(Check::Version, Found::LedgerTooOld(version)),
        _ => Finding::ok(
            Check::Version,
            Found::Postgres {
                version,
                standby: false,
            },
        ),
    });
    check_encoding(connection, findings).await?;
    if timezone != "UTC" {
        findings.push(Finding::error(Check::Session, Found::SettingsLost(timezone)));
    }
    if used * 10 > most * 9 {
        findings.push(
            Finding::warning(Check::Connections, Found::ConnectionsUsed { used, most })
                .todo("ALTER SYSTEM SET max_connections = …;   -- and restart it; or lower database_max_connections"),
        );
    }
    // from here on the session acts with the role of the fleet
    let may_act = check_role(connection, &login, findings).await;
    let is_migrated = match check_migrations(connection, findings).await {
        Ok(is_migrated) => is_migrated,
        Err(error) if !may_act => {
            findings.push(Finding::not_checked(Check::Migrations, report(&error)));
            false
        }
        Err(error) => return Err(error),
    };
    if !autovacuum {
        findings.push(
            Finding::warning(Check::Vacuum, Found::AutovacuumOff)
                .todo("ALTER SYSTEM SET autovacuum = on; SELECT pg_reload_conf();"),
        );
    }
    if is_migrated {
        check_sizes(connection, findings).await?;
        check_statistics(connection, findings).await?;
        check_backup(connection, findings).await?;
    }
    check_slots(connection, findings).await?;
    state.is_usable = may_act && is_migrated;
    Ok(())
}

async fn check_encoding(
    connection: &mut PgConnection,
    findings: &mut Vec<Finding>,
) -> Result<(), sqlx::Error> {
    if let Some(wrong) = encoding::find_wrong(connection).await? {
        findings.push(
            Finding::error(Check::Encoding, Found::WrongEncoding(wrong.encoding)).todo(wrong.statement),
        );
    }
    Ok(())
}

async fn check_backup(connection: &mut PgConnection, findings: &mut Vec<Finding>) -> Result<(), sqlx::Error> {
    let hidden = backup::find_hidden(connection).await?;
    findings.extend(
        hidden
            .into_iter()
            .map(|hidden| Finding::warning(Check::Backup, hidden.problem).todo(hidden.fix)),
    );
    Ok(())
}

async fn check_migrations(
    connection: &mut PgConnection,
    findings: &mut Vec<Finding>,
) -> Result<bool, sqlx::Error> {
    let applied = applied_migrations(connection).await?;
    let schema = schema(&applied);
    findings.push(match schema {
        Schema::Newer(count) => Finding::ok(Check::Migrations, Found::MigratedFurther(count)),
        Schema::Current => Finding::ok(Check::Migrations, Found::Migrated(applied.len())),
        Schema::Behind => Finding::error(
            Check::Migrations,
            match applied.len() {
                0 => Found::NotMigrated,
                count => Found::MigrationsMissing(count),
            },
        )
        .todo("tidemark migrate"),
        Schema::TooNew(version) => Finding::error(Check::Migrations, Found::MigratedTooFar(version)),
    });
    Ok(schema.is_usable())
}

async fn check_role(connection: &mut PgConnection, login: &str, findings: &mut Vec<Finding>) -> bool {
    // an error is a missing role, which the migrations create
    let may_act: Result<bool, _> = sqlx::query_scalar(MAY_ACT_AS_CONSOLE)
        .fetch_one(&mut *connection)
        .await;
    if may_act.is_ok_and(|may_act| !may_act) {
        let found = Found::MayNotBeConsole(login.to_owned());
        let grant = format!("GRANT console_service TO {};", quote(login));
        findings.push(Finding::warning(Check::Rights, found).todo(grant));
    }
    let acted = sqlx::query("SET ROLE etl_service").execute(connection).await;
    match acted {
        Ok(_) => {
            findings.push(Finding::ok(Check::Rights, Found::MayBeService(login.to_owned())));
            true
        }
        Err(error) => {
            findings.push(
                Finding::error(
                    Check::Rights,
                    Found::MayNotBeService {
                        login: login.to_owned(),
                        error: report(&error),
                    },
                )
                .todo(format!("GRANT etl_service TO {};", quote(login))),
            );
            false
        }
    }
}

#[derive(Debug, FromRow)]
struct Size {
    name: String,
    bytes: i64,
    live: i64,
    dead: i64,
}

async fn check_sizes(connection: &mut PgConnection, findings: &mut Vec<Finding>) -> Result<(), sqlx::Error> {
    let sizes: Vec<Size> = sqlx::query_as(
        "SELECT c.relname::text AS name, pg_total_relation_size(c.oid) AS bytes, coalesce(s.n_live_tup, 0) AS live, \
                coalesce(s.n_dead_tup, 0) AS dead \
         FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid \
         WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('etl_control')) \
           AND c.relkind = 'r' AND c.relname = ANY($1) \
         ORDER BY bytes DESC",
    )
    .bind(TABLES)
    .fetch_all(connection)
    .await?;
    let is_target = |size: &&Size| size.name == "conversations_analytics";
    let target: i64 = sizes.iter().filter(is_target).map(|size| size.bytes).sum();
    let ledger: i64 = sizes
        .iter()
        .filter(|size| !is_target(size))
        .map(|size| size.bytes)
        .sum();
    let largest = sizes
        .iter()
        .filter(|size| !is_target(size))
        .take(3)
        .map(|size| (size.name.clone(), size.bytes))
        .collect();
    let found = Found::Sizes {
        rows: target,
        ledger,
        largest,
    };
    findings.push(Finding::ok(Check::Disk, found));
    // autovacuum starts at a fifth of the live rows
    let bloated = sizes
        .iter()
        .filter(|size| size.dead > 10_000 && size.dead > size.live / 2);
    for size in bloated {
        findings.push(
            Finding::warning(
                Check::Vacuum,
                Found::DeadRows {
                    table: size.name.clone(),
                    dead: size.dead,
                    live: size.live,
                },
            )
            .todo(format!("VACUUM (ANALYZE) {};", size.name)),
        );
    }
    Ok(())
}

/// Plans of a large target without statistics read far too much. The processes run ANALYZE themselves after a first full
/// run, where they may.
async fn check_statistics(
    connection: &mut PgConnection,
    findings: &mut Vec<Finding>,
) -> Result<(), sqlx::Error> {
    let stale: Option<(String, i64)> = sqlx::query_as(STALE_STATISTICS)
        .bind(MANY_CHANGED_ROWS)
        .fetch_optional(connection)
        .await?;
    if let Some((name, changed)) = stale {
        findings.push(
            Finding::warning(Check::Statistics, Found::TargetStale(changed))
                .todo(format!("ANALYZE {name};   -- as the owner of the table")),
        );
    }
    Ok(())
}

async fn check_slots(connection: &mut PgConnection, findings: &mut Vec<Finding>) -> Result<(), sqlx::Error> {
    let slots: Vec<(String, i64)> = sqlx::query_as(
        "SELECT slot_name::text, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint FROM pg_replication_slots \
         WHERE NOT active AND restart_lsn IS NOT NULL AND NOT pg_is_in_recovery() ORDER BY 2 DESC",
    )
    .fetch_all(connection)
    .await?;
    for (slot, kept) in slots.into_iter().filter(|(_, kept)| *kept > SLOT_BYTES) {
        findings.push(
            Finding::warning(
                Check::Disk,
                Found::UnusedSlot {
                    slot: slot.clone(),
                    kept,
                },
            )
            .todo(format!(
                "SELECT pg_drop_replication_slot('{}');",
                slot.replace('\'', "''")
            )),
        );
    }
    Ok(())
}

//! Whether tenants are kept apart: what the catalog says of it, and what happens to who tries.
//!
//! `worker`, `producer`, `finalizer`, `up` and `sync --local` ask [`check`] when they start, and refuse to run when a
//! finding [`Finding::refuses`]; `doctor` shows all of them.

use sqlx::postgres::PgTransaction;
use sqlx::{Connection, FromRow};

use super::{Attempt, DbResult, statements};
use tidemark_postgres::DbPool;
use tidemark_postgres::sqlstate::{FailureKind, failure_kind, sqlstate};
use tidemark_shared::ids::TenantId;

statements! {
    CATALOG = include_str!("isolation/catalog.sql");
    SET_TENANT = "SELECT set_config('app.current_tenant_id', $1, true)";
    // without a tenant the planner takes the first page for an answer, and would read the whole table to find none
    BY_INDEX = "SELECT set_config('enable_seqscan', 'off', true)";
    ANY_ROW = "SELECT FROM conversations_analytics LIMIT 1";
    OTHERS_ROWS = "SELECT FROM conversations_analytics WHERE tenant_id <> 2147483647 LIMIT 1";
    // never more than a refusal: the row lacks what the table asks for, and policies are asked before that
    INSERT_FOR_OTHER = "INSERT INTO conversations_analytics (tenant_id, conversation_id) VALUES (2147483646, 0)";
    STAND_IN = include_str!("isolation/insert_probe_row.sql");
    READ_STAND_IN = "SELECT FROM conversations_analytics WHERE tenant_id = 2147483647 AND conversation_id = 0";
    CHANGE_STAND_IN = "UPDATE conversations_analytics SET etl_updated_at = now() \
                       WHERE tenant_id = 2147483647 AND conversation_id = 0";
    DELETE_STAND_IN = "DELETE FROM conversations_analytics WHERE tenant_id = 2147483647 AND conversation_id = 0";
    GIVE_STAND_IN_AWAY = "UPDATE conversations_analytics SET tenant_id = 2147483646 \
                          WHERE tenant_id = 2147483647 AND conversation_id = 0";
}

/// Two ids that no tenant should have; what the probe writes under them is rolled back.
const OURS: TenantId = TenantId(i32::MAX);
const OTHER: TenantId = TenantId(i32::MAX - 1);

/// What the migrations made. Whatever else is wrong is a finding of the catalog with a statement of its own.
const RESTORE: &str = "DROP POLICY IF EXISTS service ON conversations_analytics; \
    CREATE POLICY service ON conversations_analytics TO etl_service \
    USING (tenant_id = (SELECT app_current_tenant_id())) WITH CHECK (tenant_id = (SELECT app_current_tenant_id())); \
    -- and compare app_current_tenant_id() with the migrations";

const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// One thing that keeps tenants from being apart for certain.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Finding {
    /// Processes refuse to run because of it; otherwise it is worth a warning.
    pub refuses: bool,
    /// What is wrong, as a sentence without a full stop.
    pub what: String,
    /// SQL that mends it, for somebody who may: a superuser, or the owner of what it names.
    pub mend: String,
}

/// Asks the catalog, and probes across tenants in a transaction that is rolled back. Empty when all is well.
///
/// Takes the pool of [`super::connect::pool`], whose connections act as the processes do; some tens of milliseconds.
///
/// # Errors
/// When the database does not answer. A probe that is refused is no error.
pub async fn check(db: &DbPool) -> DbResult<Vec<Finding>> {
    let mut tx = db
        .begin()
        .await
        .attempt("begin to check the isolation of tenants")?;
    let mut findings: Vec<Finding> = sqlx::query_as(CATALOG)
        .persistent(false)
        .fetch_all(&mut *tx)
        .await
        .attempt("read the rights of roles")?;
    let passed = probe(&mut tx).await.attempt("probe across tenants")?;
    tx.rollback()
        .await
        .attempt("roll the probe across tenants back")?;
    findings.extend(passed.into_iter().map(|what| Finding {
        refuses: true,
        what: format!("a probe across tenants succeeded: {what}"),
        mend: RESTORE.to_owned(),
    }));
    Ok(findings)
}

/// What findings keep a process from running, a line each, with the statement below it; `None`: nothing does.
#[must_use]
pub fn refusal(findings: &[Finding]) -> Option<String> {
    let reasons: Vec<String> = findings
        .iter()
        .filter(|finding| finding.refuses)
        .map(|finding| format!("\n  {}\n    {}", finding.what, finding.mend))
        .collect();
    (!reasons.is_empty()).then(|| {
        let reasons = reasons.concat();
        format!("row-level security does not keep tenants apart here, so nothing is started; as a superuser run{reasons}")
    })
}

/// Whom a trial acts for, as the setting says it.
#[derive(Clone, Copy)]
enum Acting {
    ForNobody,
    Malformed,
    For(TenantId),
}

impl Acting {
    fn setting(self) -> String {
        match self {
            Self::ForNobody => String::new(),
            Self::Malformed => "1 OR true".to_owned(),
            Self::For(tenant) => tenant.to_string(),
        }
    }
}

/// What must come of a trial.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Must {
    /// It hits no row, or is refused.
    HitNothing,
    /// Policies refuse it. Any other error means that they let it pass.
    BeRefused,
}

/// Trials that need no row, and those with a row of `OURS`.
const WITHOUT: [(&str, Acting, &str, Must); 4] = [
    (
        "rows are seen without a tenant",
        Acting::ForNobody,
        ANY_ROW,
        Must::HitNothing,
    ),
    (
        "rows are seen with a tenant that is no number",
        Acting::Malformed,
        ANY_ROW,
        Must::HitNothing,
    ),
    (
        "rows of other tenants are seen",
        Acting::For(OURS),
        OTHERS_ROWS,
        Must::HitNothing,
    ),
    (
        "a row can be written for another tenant",
        Acting::For(OURS),
        INSERT_FOR_OTHER,
        Must::BeRefused,
    ),
];
const WITH: [(&str, Acting, &str, Must); 5] = [
    (
        "a row is seen without its tenant",
        Acting::ForNobody,
        READ_STAND_IN,
        Must::HitNothing,
    ),
    (
        "another tenant's row is seen",
        Acting::For(OTHER),
        READ_STAND_IN,
        Must::HitNothing,
    ),
    (
        "another tenant's row can be changed",
        Acting::For(OTHER),
        CHANGE_STAND_IN,
        Must::HitNothing,
    ),
    (
        "another tenant's row can be deleted",
        Acting::For(OTHER),
        DELETE_STAND_IN,
        Must::HitNothing,
    ),
    (
        "a row can be given to another tenant",
        Acting::For(OURS),
        GIVE_STAND_IN_AWAY,
        Must::BeRefused,
    ),
];

/// Reads and writes for the wrong tenant; returns what succeeded.
async fn probe(tx: &mut PgTransaction<'_>) -> Result<Vec<&'static str>, sqlx::Error> {
    sqlx::query(BY_INDEX).execute(&mut **tx).await?;
    let mut passed = Vec::new();
    for (what, acting, statement, must) in WITHOUT {
        if !holds(tx, acting, statement, must).await? {
            passed.push(what);
        }
    }
    // somebody's own constraint or trigger may want more of a row than it has: then the trials above have to do
    let mut with_row = tx.begin().await?;
    if hits(&mut with_row, Acting::For(OURS), STAND_IN).await?.is_ok() {
        for (what, acting, statement, must) in WITH {
            if !holds(&mut with_row, acting, statement, must).await? {
                passed.push(what);
            }
        }
    }
    with_row.rollback().await?;
    Ok(passed)
}

/// One trial, undone afterwards.
async fn holds(
    tx: &mut PgTransaction<'_>,
    acting: Acting,
    statement: &'static str,
    must: Must,
) -> Result<bool, sqlx::Error> {
    let mut trial = tx.begin().await?;
    let outcome = hits(&mut trial, acting, statement).await?;
    trial.rollback().await?;
    Ok(match (outcome, must) {
        (Ok(rows), Must::HitNothing) => rows == 0,
        (Err(_), Must::HitNothing) => true,
        (Ok(_), Must::BeRefused) => false,
        (Err(state), Must::BeRefused) => state == INSUFFICIENT_PRIVILEGE,
    })
}

/// How many rows a statement hits, or the SQLSTATE that refuses it.
async fn hits(
    tx: &mut PgTransaction<'_>,
    acting: Acting,
    statement: &'static str,
) -> Result<Result<u64, String>, sqlx::Error> {
    sqlx::query(SET_TENANT)
        .bind(acting.setting())
        .execute(&mut **tx)
        .await?;
    match sqlx::query(statement).persistent(false).execute(&mut **tx).await {
        Ok(done) => Ok(Ok(done.rows_affected())),
        Err(error) => match sqlstate(&error) {
            Some(state) if is_refusal(&error, &state) => Ok(Err(state)),
            _ => Err(error),
        },
    }
}

/// Whether the server said no, rather than that it is busy or going away.
fn is_refusal(error: &sqlx::Error, state: &str) -> bool {
    // a trigger of somebody's own
    const RAISED: &str = "P0";
    state.starts_with(RAISED)
        || matches!(
            failure_kind(error),
            FailureKind::Data | FailureKind::Configuration
        )
}

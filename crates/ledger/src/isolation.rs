//! Checks that tenants cannot see or write each other's rows: by the catalog, and by statements that must fail.
//!
//! `worker`, `producer`, `finalizer`, `up` and `sync --local` call [`check`] when they start. They refuse to run when a
//! finding [`Finding::stops_start`]; `doctor` shows all findings.

use sqlx::postgres::PgTransaction;
use sqlx::{AssertSqlSafe, raw_sql};
use tidemark_postgres::DbPool;
use tidemark_postgres::sqlstate::{FailureKind, failure_kind, sqlstate};
use tidemark_runtime::finding::IsolationFault;
use tidemark_shared::ids::TenantId;

use crate::tables::TABLES;
use crate::{Attempt, DbResult, statements};

statements! {
    CATALOG = include_str!("isolation/catalog.sql");
    // without a tenant the planner expects a row on the first page, and would scan the whole table
    DISABLE_SEQSCAN = "SELECT set_config('enable_seqscan', 'off', true)";
    ANY_ROW = "SELECT FROM conversations_analytics LIMIT 1";
    OTHERS_ROWS = "SELECT FROM conversations_analytics WHERE tenant_id <> 2147483647 LIMIT 1";
    // it can only be refused: the row lacks required columns, and policies are checked before those
    INSERT_FOR_OTHER = "INSERT INTO conversations_analytics (tenant_id, conversation_id) VALUES (2147483646, 0)";
    INSERT_PROBE_ROW = include_str!("isolation/insert_probe_row.sql");
    READ_PROBE_ROW = "SELECT FROM conversations_analytics WHERE tenant_id = 2147483647 AND conversation_id = 0";
    UPDATE_PROBE_ROW = "UPDATE conversations_analytics SET etl_updated_at = now() \
                        WHERE tenant_id = 2147483647 AND conversation_id = 0";
    DELETE_PROBE_ROW = "DELETE FROM conversations_analytics WHERE tenant_id = 2147483647 AND conversation_id = 0";
    MOVE_PROBE_ROW = "UPDATE conversations_analytics SET tenant_id = 2147483646 \
                      WHERE tenant_id = 2147483647 AND conversation_id = 0";
}

/// Two ids that no tenant should have. The rows that the probe writes with them are rolled back.
const OURS: TenantId = TenantId(i32::MAX);
const OTHER: TenantId = TenantId(i32::MAX - 1);

/// Restores the policy of the migrations. Every other problem is a finding of the catalog with its own fix.
const RESTORE: &str = "DROP POLICY IF EXISTS service ON conversations_analytics; \
    CREATE POLICY service ON conversations_analytics TO etl_service \
    USING (tenant_id = (SELECT app_current_tenant_id())) WITH CHECK (tenant_id = (SELECT app_current_tenant_id())); \
    -- and compare app_current_tenant_id() with the migrations";

const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A problem with the isolation of tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Processes refuse to run because of it; otherwise it is only a warning.
    pub stops_start: bool,
    pub problem: IsolationFault,
    /// SQL that fixes it. It takes a superuser, or the owner of the objects that it names.
    pub fix: String,
}

/// Checks the catalog, and runs the probe in a transaction that is rolled back. Empty when there is no problem.
///
/// Takes the pool of [`super::connect::pool`], whose connections act as the processes do. It takes some tens of
/// milliseconds.
///
/// # Errors
/// When the database does not answer. A refused probe is no error.
pub async fn check(db: &DbPool) -> DbResult<Vec<Finding>> {
    let mut tx = db
        .begin()
        .await
        .attempt("begin to check the isolation of tenants")?;
    let found: Vec<(bool, String, Vec<String>, String)> = sqlx::query_as(CATALOG)
        .bind(TABLES)
        .persistent(false)
        .fetch_all(&mut *tx)
        .await
        .attempt("read the rights of roles")?;
    let violations = probe(&mut tx).await.attempt("probe across tenants")?;
    tx.rollback()
        .await
        .attempt("roll back the probe across tenants")?;
    let by_catalog = found.into_iter().map(|(stops_start, fault, names, fix)| Finding {
        stops_start,
        problem: IsolationFault::of_case(&fault, names)
            .expect("the statement knows the cases and their names"),
        fix,
    });
    let by_probe = violations.into_iter().map(|problem| Finding {
        stops_start: true,
        problem,
        fix: RESTORE.to_owned(),
    });
    Ok(by_catalog.chain(by_probe).collect())
}

/// The problems that stop a process, one a line, each with its fix below it; `None` when there are none.
#[must_use]
pub fn refusal(findings: &[Finding]) -> Option<String> {
    let reasons: Vec<String> = findings
        .iter()
        .filter(|finding| finding.stops_start)
        .map(|finding| format!("\n  {}\n    {}", finding.problem, finding.fix))
        .collect();
    (!reasons.is_empty()).then(|| {
        let reasons = reasons.concat();
        format!("row-level security does not isolate tenants here, so the process does not start; as a superuser run{reasons}")
    })
}

/// The tenant that a trial acts for.
#[derive(Clone, Copy)]
enum ActingFor {
    Nobody,
    Malformed,
    Tenant(TenantId),
}

impl ActingFor {
    fn statement(self) -> String {
        let setting = match self {
            Self::Nobody => String::new(),
            Self::Malformed => "1 OR true".to_owned(),
            Self::Tenant(tenant) => tenant.to_string(),
        };
        format!("SELECT set_config('app.current_tenant_id', '{setting}', true)")
    }
}

/// The outcome of a trial when tenants are isolated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// It finds no row, or is refused.
    NoRow,
    /// A policy refuses it. Any other error means that the policy let it pass.
    Refused,
}

type Trial = (IsolationFault, ActingFor, &'static str, Expected);

/// Trials that need no row, and trials with a row of `OURS`.
const TRIALS_WITHOUT_ROW: [Trial; 4] = [
    (
        IsolationFault::SeenWithoutTenant {},
        ActingFor::Nobody,
        ANY_ROW,
        Expected::NoRow,
    ),
    (
        IsolationFault::SeenWithNoNumber {},
        ActingFor::Malformed,
        ANY_ROW,
        Expected::NoRow,
    ),
    (
        IsolationFault::OthersSeen {},
        ActingFor::Tenant(OURS),
        OTHERS_ROWS,
        Expected::NoRow,
    ),
    (
        IsolationFault::WrittenForOther {},
        ActingFor::Tenant(OURS),
        INSERT_FOR_OTHER,
        Expected::Refused,
    ),
];
const TRIALS_WITH_ROW: [Trial; 5] = [
    (
        IsolationFault::RowSeenWithoutTenant {},
        ActingFor::Nobody,
        READ_PROBE_ROW,
        Expected::NoRow,
    ),
    (
        IsolationFault::OthersRowSeen {},
        ActingFor::Tenant(OTHER),
        READ_PROBE_ROW,
        Expected::NoRow,
    ),
    (
        IsolationFault::OthersRowChanged {},
        ActingFor::Tenant(OTHER),
        UPDATE_PROBE_ROW,
        Expected::NoRow,
    ),
    (
        IsolationFault::OthersRowDeleted {},
        ActingFor::Tenant(OTHER),
        DELETE_PROBE_ROW,
        Expected::NoRow,
    ),
    (
        IsolationFault::RowGivenAway {},
        ActingFor::Tenant(OURS),
        MOVE_PROBE_ROW,
        Expected::Refused,
    ),
];

/// Reads and writes for the wrong tenant; returns the trials that should have failed. The transaction can only be rolled back
/// afterwards. Each trial is two messages to the server: it may be far away.
async fn probe(tx: &mut PgTransaction<'_>) -> Result<Vec<IsolationFault>, sqlx::Error> {
    raw_sql(DISABLE_SEQSCAN).execute(&mut **tx).await?;
    let mut violations = try_all(tx, &TRIALS_WITHOUT_ROW).await?;
    raw_sql(AssertSqlSafe(ActingFor::Tenant(OURS).statement()))
        .execute(&mut **tx)
        .await?;
    // a constraint or trigger of the owner may refuse the probe row; then only the trials above count
    if attempt(tx, INSERT_PROBE_ROW).await?.is_ok() {
        violations.extend(try_all(tx, &TRIALS_WITH_ROW).await?);
    }
    Ok(violations)
}

/// Runs these trials, each from the state of now; returns those that should have failed.
async fn try_all(tx: &mut PgTransaction<'_>, trials: &[Trial]) -> Result<Vec<IsolationFault>, sqlx::Error> {
    const ROLL_BACK: &str = "ROLLBACK TO SAVEPOINT trial";
    raw_sql("SAVEPOINT trial").execute(&mut **tx).await?;
    let mut violations = Vec::new();
    for (problem, acting, statement, expected) in trials {
        let begin = format!("{ROLL_BACK}; {}", acting.statement());
        raw_sql(AssertSqlSafe(begin)).execute(&mut **tx).await?;
        let is_isolated = match (attempt(tx, statement).await?, expected) {
            (Ok(rows), Expected::NoRow) => rows == 0,
            (Err(_), Expected::NoRow) => true,
            (Ok(_), Expected::Refused) => false,
            (Err(state), Expected::Refused) => state == INSUFFICIENT_PRIVILEGE,
        };
        if !is_isolated {
            violations.push(problem.clone());
        }
    }
    raw_sql(ROLL_BACK).execute(&mut **tx).await?;
    Ok(violations)
}

/// How many rows a statement affects, or the SQLSTATE that refuses it.
async fn attempt(
    tx: &mut PgTransaction<'_>,
    statement: &'static str,
) -> Result<Result<u64, String>, sqlx::Error> {
    match raw_sql(statement).execute(&mut **tx).await {
        Ok(done) => Ok(Ok(done.rows_affected())),
        Err(error) => match sqlstate(&error) {
            Some(state) if is_refusal(&error, &state) => Ok(Err(state)),
            _ => Err(error),
        },
    }
}

/// Whether the server refused the statement, and is not just busy or going away.
fn is_refusal(error: &sqlx::Error, state: &str) -> bool {
    // from a trigger that the owner has added
    const RAISED: &str = "P0";
    state.starts_with(RAISED)
        || matches!(
            failure_kind(error),
            FailureKind::Data | FailureKind::Configuration
        )
}

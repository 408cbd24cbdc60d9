//! A database for one test.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::str::FromStr;

use futures::FutureExt;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, raw_sql};
use uuid::Uuid;

fn server() -> String {
    #[expect(clippy::disallowed_methods, reason = "tests have no other setting")]
    std::env::var("TIDEMARK_TEST_DATABASE_URL")
        .expect("TIDEMARK_TEST_DATABASE_URL is not set: run the tests with `make test`")
}

/// Runs the test with the URL of a database that does not exist yet, and drops it afterwards.
pub async fn with_database(test: impl AsyncFnOnce(String)) {
    let server = PgConnectOptions::from_str(&server()).unwrap();
    let name = format!("sample_test_{}", Uuid::new_v4().simple());
    let url = server.clone().database(&name).to_url_lossy().to_string();

    let outcome = AssertUnwindSafe(test(url)).catch_unwind().await;
    let mut conn = server.connect().await.unwrap();
    let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    raw_sql(AssertSqlSafe(drop)).execute(&mut conn).await.unwrap();
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

pub async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

/// Creates a database that is not a sample.
pub async fn create_foreign(url: &str) {
    let options = PgConnectOptions::from_str(url).unwrap();
    let statement = format!("CREATE DATABASE {}", options.get_database().unwrap());
    let mut conn = options.database("postgres").connect().await.unwrap();
    raw_sql(AssertSqlSafe(statement))
        .execute(&mut conn)
        .await
        .unwrap();
}

//! The PostgreSQL server of the tests.

use sqlx::{Connection, PgConnection};

#[expect(
    clippy::disallowed_methods,
    reason = "the test server's address is no setting of the program"
)]
pub(crate) async fn test_server() -> PgConnection {
    let url = std::env::var("TIDEMARK_TEST_DATABASE_URL").expect("a test server: run `make test`");
    let mut server = PgConnection::connect(&url).await.unwrap();
    sqlx::query("SET TimeZone = 'UTC'")
        .execute(&mut server)
        .await
        .unwrap();
    server
}

//! Tokens of the API: `Authorization: Bearer tmk_…`. Never from a cookie or a query.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use tidemark_ledger as ledger;
use tidemark_ledger::DbResult;
use tidemark_postgres::DbPool;

use super::secret;
use super::who::Who;

/// The token of a request.
pub fn of(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whose token it is; `None` where it is unknown or has expired.
pub async fn find(db: &DbPool, token: &str) -> DbResult<Option<Who>> {
    let hash = secret::hash(token);
    let Some(found) = ledger::console::token::find(db, &hash).await? else {
        return Ok(None);
    };
    ledger::console::token::touch(db, &hash).await?;
    Ok(Who::of_token(found))
}

//! `etl_action_audit`: what operators did. Rows are written in the transaction of the action.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor};
use tidemark_shared::audit::{Action, ActionResult, Actor};
use tidemark_shared::ids::TenantId;
use tidemark_shared::since::Since;

use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

/// The newest entries before id $1. $2 tenant, $3 start of the actor, $4 actions, $5 since, $6 within so many seconds, $7
/// limit.
macro_rules! list {
    ($condition:literal) => {
        concat!(
            "SELECT id, acted_at, actor, origin, action, tenant_id, subject, reason, before, after, result \
             FROM etl_action_audit WHERE id < $1 AND ",
            $condition,
            " AND ($3::text IS NULL OR starts_with(actor, $3)) \
              AND (cardinality($4::text[]) = 0 OR action = ANY($4)) \
              AND ($5::timestamptz IS NULL OR acted_at >= $5) \
              AND ($6::float8 IS NULL OR acted_at >= now() - make_interval(secs => $6)) \
              ORDER BY id DESC LIMIT $7"
        )
    };
}

statements! {
    RECORD = "INSERT INTO etl_action_audit (actor, origin, action, tenant_id, subject, reason, before, after, result) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    LIST_OF_TENANT = list!("tenant_id = $2::integer");
    LIST_ALL = list!("$2::integer IS NULL");
}

/// One action, to be recorded.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    pub action: Action,
    pub tenant: Option<TenantId>,
    /// Which run, chunk, inbox, source, webhook or user.
    pub subject: Option<String>,
    pub reason: Option<&'a str>,
    /// What it changed, before and after. No personal data and no secret.
    pub before: Option<Value>,
    pub after: Option<Value>,
    pub result: ActionResult,
}

impl<'a> Entry<'a> {
    /// An action that was done.
    #[must_use]
    pub const fn new(action: Action) -> Self {
        Self {
            action,
            tenant: None,
            subject: None,
            reason: None,
            before: None,
            after: None,
            result: ActionResult::Done,
        }
    }

    #[must_use]
    pub const fn tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    #[must_use]
    pub const fn reason(mut self, reason: Option<&'a str>) -> Self {
        self.reason = reason;
        self
    }

    #[must_use]
    pub fn before(mut self, before: impl Serialize) -> Self {
        self.before = to_value(before);
        self
    }

    #[must_use]
    pub fn after(mut self, after: impl Serialize) -> Self {
        self.after = to_value(after);
        self
    }

    #[must_use]
    pub const fn result(mut self, result: ActionResult) -> Self {
        self.result = result;
        self
    }
}

fn to_value(value: impl Serialize) -> Option<Value> {
    let value = serde_json::to_value(value).expect("values of the audit have string keys");
    (!value.is_null()).then_some(value)
}

/// The fields that differ between two states of the same object.
#[must_use]
pub fn difference(old: &impl Serialize, new: &impl Serialize) -> (Value, Value) {
    let fields = |value: Option<Value>| match value {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (mut old, mut new) = (fields(to_value(old)), fields(to_value(new)));
    old.retain(|name, value| {
        let is_same = new.get(name) == Some(value);
        if is_same {
            new.remove(name);
        }
        !is_same
    });
    (old.into(), new.into())
}

/// Records an action. The caller passes the transaction of the action, so that both happen or neither.
pub async fn record(db: impl PgExecutor<'_>, actor: &Actor, entry: &Entry<'_>) -> DbResult<()> {
    sqlx::query(RECORD)
        .bind(actor.as_str())
        .bind(actor.origin())
        .bind(entry.action.as_str())
        .bind(entry.tenant.map(Stored))
        .bind(&entry.subject)
        .bind(entry.reason)
        .bind(entry.before.as_ref().map(Json))
        .bind(entry.after.as_ref().map(Json))
        .bind(entry.result.as_str())
        .execute(db)
        .await
        .map(drop)
        .attempt("record the action")
}

/// A recorded action. The field names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
pub struct Recorded {
    pub id: i64,
    pub acted_at: DateTime<Utc>,
    pub actor: String,
    pub origin: Option<String>,
    pub action: String,
    #[sqlx(try_from = "Stored<Option<TenantId>>")]
    pub tenant_id: Option<TenantId>,
    pub subject: Option<String>,
    pub reason: Option<String>,
    pub before: Option<Value>,
    pub after: Option<Value>,
    pub result: String,
}

/// Which actions to list; the default is all.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub tenant: Option<TenantId>,
    /// The actor, or how its name begins: `console:`.
    pub actor: Option<String>,
    /// Any of these; empty: all.
    pub actions: Vec<Action>,
    pub since: Option<Since>,
}

/// Recorded actions before this id, newest first, at most `limit`.
pub async fn list(
    db: impl PgExecutor<'_>,
    filter: &AuditFilter,
    before: Option<i64>,
    limit: i64,
) -> DbResult<Vec<Recorded>> {
    let (since, ago) = Since::split(filter.since);
    let actions: Vec<&str> = filter.actions.iter().map(|action| action.as_str()).collect();
    let text = match filter.tenant {
        Some(_) => LIST_OF_TENANT,
        None => LIST_ALL,
    };
    sqlx::query_as(text)
        .bind(before.unwrap_or(i64::MAX))
        .bind(filter.tenant.map(Stored))
        .bind(&filter.actor)
        .bind(actions)
        .bind(since)
        .bind(ago)
        .bind(limit)
        .fetch_all(db)
        .await
        .attempt("list the audit")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_fields_that_differ_are_recorded() {
        let (old, new) = difference(
            &json!({"name": "A", "chunk_size": 100, "gone": 1}),
            &json!({"name": "A", "chunk_size": 200}),
        );
        assert_eq!(old, json!({"chunk_size": 100, "gone": 1}));
        assert_eq!(new, json!({"chunk_size": 200}));
    }
}

//! The published view of an installation: which of the columns that are read it has, and as what.

use sqlx::{AssertSqlSafe, PgConnection};

use super::digest::{Hashed, HashedColumn, digest_of, rules_digest, texts_digest};
use super::{Source, SourceError};
use tidemark_postgres::ident::RelationName;
use tidemark_postgres::report::report;
use tidemark_shared::selection::NameOf;

/// What a column is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    BigInt,
    Text,
    Uuid,
    Time,
    Json,
    Messages,
}

/// What a column is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The conversation, its contact, its satisfaction answer.
    Conversation,
    /// What many conversations share. Left out of the digest: renaming an inbox must not call for all of its
    /// conversations in the next run. Full runs and verification find it.
    Place,
    /// What the view aggregates from messages: read by key only.
    Messages,
}

struct Column {
    name: &'static str,
    kind: Kind,
    part: Part,
}

macro_rules! columns {
    ($($name:ident: $kind:ident $part:ident),* $(,)?) => {
        [$(Column { name: stringify!($name), kind: Kind::$kind, part: Part::$part }),*]
    };
}

/// Every column that is read.
static COLUMNS: [Column; 39] = columns! {
    conversation_id: BigInt Conversation,
    display_id: Integer Conversation,
    conversation_uuid: Uuid Conversation,
    account_id: Integer Conversation,
    account_name: Text Place,
    inbox_id: Integer Conversation,
    inbox_name: Text Place,
    inbox_channel_type: Text Place,
    inbox_timezone: Text Place,
    status: Integer Conversation,
    priority: Integer Conversation,
    snoozed_until: Time Conversation,
    assignee_id: Integer Conversation,
    assignee_name: Text Place,
    assignee_email: Text Place,
    team_id: BigInt Conversation,
    team_name: Text Place,
    campaign_id: BigInt Conversation,
    contact_id: BigInt Conversation,
    contact_name: Text Conversation,
    contact_email: Text Conversation,
    contact_phone: Text Conversation,
    contact_identifier: Text Conversation,
    conversation_created_at: Time Conversation,
    conversation_updated_at: Time Conversation,
    last_activity_at: Time Conversation,
    first_reply_created_at: Time Conversation,
    waiting_since: Time Conversation,
    contact_last_seen_at: Time Conversation,
    agent_last_seen_at: Time Conversation,
    cached_label_list: Text Conversation,
    conversation_custom_attributes: Json Conversation,
    client_sender_id: BigInt Messages,
    client_phone: Text Messages,
    message_compiled: Messages Messages,
    csat_response_id: BigInt Conversation,
    csat_rating: Integer Conversation,
    csat_feedback: Text Conversation,
    csat_created_at: Time Conversation,
};

const REQUIRED: [&str; 5] = [
    "conversation_id",
    "inbox_id",
    "conversation_created_at",
    "conversation_updated_at",
    "message_compiled",
];

/// Times that tell of a change. An edit of a message that moves none of them is found by full runs and verification
/// only: the view shows it nowhere but in `message_compiled`, which is too dear to read for every conversation.
const CHANGE_TIMES: [&str; 7] = [
    "conversation_updated_at",
    "last_activity_at",
    "waiting_since",
    "first_reply_created_at",
    "contact_last_seen_at",
    "agent_last_seen_at",
    "csat_created_at",
];

/// Keys of a message that may be missing: it is read as if they were NULL. Those of its id, its time and whether it is
/// private must be there.
const MESSAGE_KEYS: [&str; 8] = [
    "text",
    "sender",
    "sender_id",
    "message_type",
    "content_type",
    "status",
    "sentiment",
    "source_id",
];
/// The newest conversations, whose messages are looked at for their keys. Few: the view compiles the messages of each.
const CONVERSATIONS_LOOKED_AT: i64 = 20;
const MISSING_KEYS: &str = include_str!("missing_keys.sql");

/// Whose names are shown, the column of its id, and those of its texts in the order of the target's columns.
const NAMES: [(NameOf, &str, &[&str]); 4] = [
    (
        NameOf::Inbox,
        "inbox_id",
        &["inbox_name", "inbox_channel_type", "inbox_timezone"],
    ),
    (NameOf::Account, "account_id", &["account_name"]),
    (NameOf::User, "assignee_id", &["assignee_name", "assignee_email"]),
    (NameOf::Team, "team_id", &["team_name"]),
];

impl Kind {
    /// Whether a column of this type can be read as this kind. `category` is `pg_type.typcategory`.
    fn takes(self, type_name: &str, category: &str) -> bool {
        match self {
            Self::Integer | Self::BigInt => matches!(type_name, "smallint" | "integer" | "bigint"),
            // strings of any type, and enums
            Self::Text => matches!(category, "S" | "E"),
            Self::Uuid => type_name == "uuid" || category == "S",
            Self::Time => type_name.starts_with("timestamp "),
            Self::Json => matches!(type_name, "json" | "jsonb"),
            Self::Messages => matches!(type_name, "json" | "jsonb" | "json[]" | "jsonb[]"),
        }
    }

    /// The type that the column should have, for people.
    const fn type_name(self) -> &'static str {
        match self {
            Self::Json => "jsonb",
            Self::Messages => "jsonb or jsonb[]",
            _ => self.read_type(),
        }
    }

    /// The type of [`Self::read`].
    const fn read_type(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::BigInt => "bigint",
            Self::Text | Self::Json | Self::Messages => "text",
            Self::Uuid => "uuid",
            Self::Time => "timestamp",
        }
    }

    /// The column as it is read. JSON comes as `jsonb` prints it, so that the same value has the same text.
    fn read(self, column: &str) -> String {
        match self {
            Self::Json => format!("{column}::jsonb::text"),
            Self::Messages => format!("to_jsonb({column})::text"),
            _ => format!("{column}::{}", self.read_type()),
        }
    }

    /// How the column is hashed, by functions that no value makes fail.
    fn hashed(self, name: &str) -> HashedColumn {
        match self {
            Self::Integer | Self::BigInt => HashedColumn::new(Hashed::Int8, format!("v.{name}::bigint")),
            Self::Time => HashedColumn::new(Hashed::Time, format!("v.{name}::timestamp")),
            // of the texts this one alone is kept when it is empty; no UUID and no JSON is an empty text
            Self::Text if name == "csat_feedback" => {
                HashedColumn::new(Hashed::Text, format!("v.{name}::text"))
            }
            Self::Text | Self::Uuid | Self::Json | Self::Messages => {
                HashedColumn::new(Hashed::Text, format!("v.{name}::text")).unambiguous()
            }
        }
    }
}

/// A view as it was found. Its expressions are over `v`, the view's alias in every statement.
#[derive(Debug)]
pub struct ViewShape {
    name: RelationName,
    /// Whether it has each of [`COLUMNS`].
    present: [bool; COLUMNS.len()],
}

impl ViewShape {
    /// The view's name as SQL text.
    #[must_use]
    pub fn relation(&self) -> String {
        self.name.to_string()
    }

    /// A select list of every column that is read, under the names of the view; what the view lacks is NULL.
    #[must_use]
    pub fn select_list(&self) -> String {
        let expressions: Vec<String> = COLUMNS
            .iter()
            .zip(self.present)
            .map(|(Column { name, kind, .. }, present)| match present {
                true => format!("{} AS {name}", kind.read(&format!("v.{name}"))),
                // only optional columns can be missing
                false => format!("NULL::{} AS {name}", kind.read_type()),
            })
            .collect();
        expressions.join(", ")
    }

    /// A `bigint` over all that can be read without touching a message: see [`super::digest`].
    #[must_use]
    pub fn digest(&self) -> String {
        let columns: Vec<HashedColumn> = self
            .present()
            .filter(|column| column.part == Part::Conversation)
            .map(|column| column.kind.hashed(column.name))
            .collect();
        digest_of("0", &columns)
    }

    /// A `bigint` over what the digest leaves out, as [`Self::select_list`] reads it: the names, and the messages. Its
    /// columns are those of `r`, a sub-select of that list, so that the view works each of them out once. `$3` is the tenant's
    /// time zone.
    #[must_use]
    pub fn related_digest(&self) -> String {
        let texts = self
            .present()
            .filter(|column| column.part != Part::Conversation)
            .map(|column| format!("r.{}", column.name));
        let related = texts_digest(texts, &rules_digest());
        format!("hashint8extended(r.conversation_id, {related})")
    }

    /// Whose names can be seen: with the column of their id, and an array of their texts; a text that the view lacks is
    /// NULL.
    #[must_use]
    pub fn names(&self) -> Vec<(NameOf, &'static str, String)> {
        let shown = NAMES
            .iter()
            .filter(|(_, id, texts)| self.has(id) && texts.iter().any(|text| self.has(text)));
        shown
            .map(|&(of, id, texts)| {
                let texts: Vec<String> = texts
                    .iter()
                    .map(|text| match self.has(text) {
                        true => format!("v.{text}::text"),
                        false => "NULL::text".to_owned(),
                    })
                    .collect();
                (of, id, format!("ARRAY[{}]", texts.join(", ")))
            })
            .collect()
    }

    /// The last of the times that tell of a change.
    #[must_use]
    pub fn changed_at(&self) -> String {
        format!("greatest({})", self.change_times())
    }

    /// The times that tell of a change, as a list.
    #[must_use]
    pub fn change_times(&self) -> String {
        let times: Vec<String> = self
            .present()
            .filter(|column| CHANGE_TIMES.contains(&column.name))
            .map(|column| column.kind.read(&format!("v.{}", column.name)))
            .collect();
        times.join(", ")
    }

    /// An ORDER BY list that puts first which of a conversation's rows counts: that of the newest satisfaction answer,
    /// and in a view that multiplies rows for another reason always the same.
    #[must_use]
    pub fn newest_first(&self) -> String {
        let answers = self
            .present()
            .filter(|column| ["csat_created_at", "csat_response_id"].contains(&column.name));
        // in the order of COLUMNS the id comes before the time
        let mut order: Vec<String> = answers
            .map(|column| format!("v.{} DESC NULLS LAST", column.name))
            .collect();
        order.reverse();
        order.push(self.digest());
        order.join(", ")
    }

    /// What a run has to warn of: columns that are NULL because the view lacks them.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        COLUMNS
            .iter()
            .zip(self.present)
            .filter(|(_, present)| !present)
            .map(|(column, _)| {
                format!(
                    "view {} has no column {}: it is NULL in every row",
                    self.name, column.name
                )
            })
            .collect()
    }

    /// Lists inboxes by conversations of theirs, as [`Source::inboxes`] does from tables.
    pub(super) fn inboxes(&self) -> String {
        let column = |name: &str| match self.has(name) {
            true => format!("v.{name}"),
            false => "NULL".to_owned(),
        };
        format!(
            "SELECT DISTINCT ON (v.inbox_id) v.inbox_id::integer, {}::text, {}::text FROM {} v \
             WHERE ($1::integer IS NULL OR {}::integer = $1) AND ($2::integer[] IS NULL OR v.inbox_id = ANY($2)) \
             ORDER BY v.inbox_id",
            column("inbox_name"),
            column("inbox_channel_type"),
            self.name,
            column("account_id"),
        )
    }

    fn has(&self, name: &str) -> bool {
        self.present().any(|column| column.name == name)
    }

    fn present(&self) -> impl Iterator<Item = &'static Column> {
        COLUMNS
            .iter()
            .zip(self.present)
            .filter_map(|(column, present)| present.then_some(column))
    }
}

impl Source {
    /// What a run has to warn of, keys of messages included. The last statement of its transaction: that the messages cannot
    /// be looked at is no reason to fail, but no statement works after it.
    pub async fn view_warnings(
        &self,
        connection: &mut PgConnection,
        shape: Option<&ViewShape>,
    ) -> Vec<String> {
        let Some(shape) = shape else {
            return Vec::new();
        };
        let mut warnings = shape.warnings();
        match self.missing_keys(connection, shape).await {
            Ok(missing) => warnings.extend(missing),
            Err(error) => {
                tracing::warn!(error = %report(&error), "keys of the view's messages not looked at");
            }
        }
        warnings
    }

    /// A warning of the keys that no message of the newest conversations has. No message: no warning.
    ///
    /// # Errors
    /// When the source does not answer.
    pub(super) async fn missing_keys(
        &self,
        connection: &mut PgConnection,
        shape: &ViewShape,
    ) -> Result<Option<String>, SourceError> {
        let statement = MISSING_KEYS.replace("{view}", &shape.relation());
        let (looked_at, missing): (i64, Vec<String>) = sqlx::query_as(AssertSqlSafe(statement))
            .bind(&MESSAGE_KEYS[..])
            .bind(CONVERSATIONS_LOOKED_AT)
            .fetch_one(connection)
            .await
            .map_err(self.query_error("look at the keys of the view's messages"))?;
        Ok((looked_at > 0 && !missing.is_empty()).then(|| {
            format!(
                "view {}: its messages have no {} (none of {looked_at} that were looked at): NULL in every message",
                shape.name,
                missing.join(", ")
            )
        }))
    }

    /// Looks the view up and checks that what is read of it can be read.
    ///
    /// # Errors
    /// When the view or a required column is missing, a column has a type that does not fit or may not be read, each
    /// named; or when the source does not answer.
    pub(super) async fn view_shape(
        &self,
        name: &RelationName,
        connection: &mut PgConnection,
    ) -> Result<ViewShape, SourceError> {
        // a domain is its base type
        let found: Vec<(String, String, String, bool)> = sqlx::query_as(
            "SELECT a.attname::text, format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL), \
                    t.typcategory::text, has_column_privilege(a.attrelid, a.attnum, 'SELECT') \
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
             WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped",
        )
        .bind(name.to_string())
        .fetch_all(connection)
        .await
        .map_err(self.query_error("look its view up"))?;
        if found.is_empty() {
            return Err(self.schema_error(vec![format!("view {name}")]));
        }
        let mut present = [false; COLUMNS.len()];
        let mut missing = Vec::new();
        for (column, present) in COLUMNS.iter().zip(&mut present) {
            let Column { name, kind, .. } = column;
            match found.iter().find(|(found, ..)| found == name) {
                None if REQUIRED.contains(name) => missing.push(format!("column {name}")),
                None => {}
                // reading it as NULL would empty the target's column
                Some((.., false)) => missing.push(format!("the right to SELECT column {name}")),
                Some((_, type_name, category, true)) if !kind.takes(type_name, category) => {
                    missing.push(format!(
                        "column {name} as {} (it is {type_name})",
                        kind.type_name()
                    ));
                }
                Some(_) => *present = true,
            }
        }
        if missing.is_empty() {
            return Ok(ViewShape {
                name: name.clone(),
                present,
            });
        }
        Err(self.schema_error(missing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(missing: &[&str]) -> ViewShape {
        ViewShape {
            name: "reports.final".parse().unwrap(),
            present: std::array::from_fn(|index| !missing.contains(&COLUMNS[index].name)),
        }
    }

    #[test]
    fn a_missing_column_is_null_and_in_no_other_expression() {
        let shape = without(&["priority", "csat_created_at", "conversation_custom_attributes"]);
        let list = shape.select_list();
        for column in [
            "NULL::integer AS priority",
            "NULL::timestamp AS csat_created_at",
            "NULL::text AS conversation_custom_attributes",
            "v.status::integer AS status",
            "to_jsonb(v.message_compiled)::text AS message_compiled",
        ] {
            assert!(list.contains(column), "{column} not in {list}");
        }
        for expression in [list, shape.digest(), shape.changed_at(), shape.newest_first()] {
            assert!(!expression.contains("v.priority") && !expression.contains("v.csat_created_at"));
        }
        assert_eq!(shape.warnings().len(), 3);
        assert!(shape.warnings()[0].starts_with(r#"view "reports"."final" has no column priority:"#));
        assert!(without(&[]).warnings().is_empty());
    }

    #[test]
    fn what_is_asked_of_every_conversation_names_nothing_that_aggregates_messages() {
        let shape = without(&[]);
        for expression in [shape.digest(), shape.changed_at(), shape.newest_first()] {
            for column in ["message_compiled", "client_sender_id", "client_phone"] {
                assert!(!expression.contains(column), "{column} in {expression}");
            }
        }
        assert!(
            shape
                .newest_first()
                .starts_with("v.csat_created_at DESC NULLS LAST, v.csat_response_id DESC NULLS LAST, ")
        );
    }

    #[test]
    fn the_named_columns_exist() {
        let names = NAMES.iter().flat_map(|(_, id, texts)| texts.iter().chain([id]));
        for name in REQUIRED.iter().chain(&CHANGE_TIMES).chain(names) {
            assert!(COLUMNS.iter().any(|column| column.name == *name), "{name}");
        }
    }

    #[test]
    fn a_type_fits_when_each_of_its_values_can_be_read() {
        for (kind, type_name, category, fits) in [
            (Kind::Integer, "bigint", "N", true),
            (Kind::BigInt, "smallint", "N", true),
            (Kind::BigInt, "numeric", "N", false),
            (Kind::Integer, "text", "S", false),
            (Kind::Text, "citext", "S", true),
            (Kind::Text, "bytea", "U", false),
            (Kind::Uuid, "character varying", "S", true),
            (Kind::Time, "timestamp with time zone", "D", true),
            (Kind::Time, "date", "D", false),
            (Kind::Json, "jsonb[]", "A", false),
            (Kind::Messages, "json[]", "A", true),
            (Kind::Messages, "text", "S", false),
        ] {
            assert_eq!(kind.takes(type_name, category), fits, "{type_name} as {kind:?}");
        }
    }
}

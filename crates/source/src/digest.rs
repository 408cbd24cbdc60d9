//! Digests of a conversation, computed by the source: one of its own row, and one of everything that belongs to it in other
//! tables.
//!
//! Timestamps do not show that a conversation was deleted, moved to another inbox or given another contact. Nor do they show
//! changes that leave the timestamps alone or set them back. So each target row keeps the source's digest, and every plan
//! compares sums of digests. Conversations that differ are read again.
//!
//! A source can have other types than Chatwoot, and every value has the same digest in each: so all columns are cast. A cast to
//! the column's own type costs nothing. A column that the source lacks has the digest of NULL.
//!
//! In `view` mode the digest covers the columns of the view: see [`ViewShape::digest`](super::view::ViewShape::digest). After
//! a switch of mode every row is read once more.

/// How PostgreSQL hashes a column. These are its internal hash functions, which are fast. Another major version may compute
/// other values, and then every row is read once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HashKind {
    Int4,
    Int8,
    Text,
    Json,
    Time,
}

impl HashKind {
    const fn function(self) -> &'static str {
        match self {
            Self::Int4 => "hashint4extended",
            Self::Int8 => "hashint8extended",
            Self::Text => "hashtextextended",
            Self::Json => "jsonb_hash_extended",
            Self::Time => "timestamp_hash_extended",
        }
    }
}

/// A column of a digest.
#[derive(Debug, Clone)]
pub(super) struct HashedColumn {
    kind: HashKind,
    expression: String,
    /// Hashed in place of NULL.
    null_value: &'static str,
    /// Whether NULL and `null_value` make different target rows, so that their hashes must differ.
    is_ambiguous: bool,
}

impl HashedColumn {
    pub(super) fn new(kind: HashKind, expression: impl Into<String>) -> Self {
        Self {
            kind,
            expression: expression.into(),
            null_value: match kind {
                HashKind::Int4 | HashKind::Int8 => "-1",
                HashKind::Text => "''",
                HashKind::Json => "'null'",
                HashKind::Time => "'-infinity'",
            },
            is_ambiguous: true,
        }
    }

    /// For a column that is never NULL, or whose NULL makes the same target row as `null_value`.
    pub(super) fn unambiguous(mut self) -> Self {
        self.is_ambiguous = false;
        self
    }

    /// A text that may be empty: a control character replaces NULL.
    fn text(expression: &str) -> Self {
        Self {
            null_value: r"E'\x01'",
            ..Self::new(HashKind::Text, format!("{expression}::text"))
        }
    }

    fn hash(&self, seed: &str, marks_null_value: bool) -> String {
        let Self {
            kind,
            expression,
            null_value,
            is_ambiguous,
        } = self;
        let function = kind.function();
        if *is_ambiguous && marks_null_value {
            let mark = format!("CASE WHEN {expression} = {null_value} THEN 1 ELSE 0 END");
            format!("{function}(coalesce({expression}, {null_value}), {seed} # {mark})")
        } else {
            format!("{function}(coalesce({expression}, {null_value}), {seed})")
        }
    }
}

/// The hash of all these columns. The hash of each is the seed of the next; `innermost` is the first seed. Never NULL.
///
/// A column that contains `null_value` gets a marked seed, so that it differs from NULL. That is rare: one cheap condition
/// over the row decides whether the columns are checked one by one.
pub(super) fn digest_of(innermost: &str, columns: &[HashedColumn]) -> String {
    let nested = |marks_null_value: bool| {
        columns.iter().fold(innermost.to_owned(), |seed, column| {
            column.hash(&seed, marks_null_value)
        })
    };
    let ambiguous = |kinds: &[HashKind]| -> Vec<&HashedColumn> {
        let of_kinds = columns.iter().filter(|column| kinds.contains(&column.kind));
        of_kinds.filter(|column| column.is_ambiguous).collect()
    };
    let least = |columns: &[&HashedColumn]| {
        let list: Vec<&str> = columns.iter().map(|column| column.expression.as_str()).collect();
        format!("least({})", list.join(", "))
    };
    let mut conditions = Vec::new();
    for kind in [HashKind::Int4, HashKind::Int8] {
        let columns = ambiguous(&[kind]);
        if !columns.is_empty() {
            conditions.push(format!("{} < 0", least(&columns)));
        }
    }
    let times = ambiguous(&[HashKind::Time]);
    if !times.is_empty() {
        conditions.push(format!("{} = '-infinity'", least(&times)));
    }
    for column in ambiguous(&[HashKind::Text, HashKind::Json]) {
        conditions.push(format!("{} = {}", column.expression, column.null_value));
    }
    if conditions.is_empty() {
        return nested(false);
    }
    format!(
        "CASE WHEN {} THEN {} ELSE {} END",
        conditions.join(" OR "),
        nested(true),
        nested(false)
    )
}

/// A `bigint` expression over `conversations c`: the digest of its own row.
#[must_use]
pub fn conversation_digest() -> String {
    let ambiguous = HashedColumn::new;
    let plain = |kind, column| HashedColumn::new(kind, column).unambiguous();
    let columns = [
        ambiguous(HashKind::Time, "c.agent_last_seen_at::timestamp"),
        ambiguous(HashKind::Time, "c.contact_last_seen_at::timestamp"),
        ambiguous(HashKind::Time, "c.snoozed_until::timestamp"),
        ambiguous(HashKind::Time, "c.waiting_since::timestamp"),
        ambiguous(HashKind::Time, "c.first_reply_created_at::timestamp"),
        ambiguous(HashKind::Time, "c.last_activity_at::timestamp"),
        plain(HashKind::Time, "c.updated_at::timestamp"),
        plain(HashKind::Time, "c.created_at::timestamp"),
        ambiguous(HashKind::Json, "c.custom_attributes::jsonb"),
        // NULL and the empty text both mean no labels
        plain(HashKind::Text, "c.cached_label_list::text"),
        plain(HashKind::Int4, "c.account_id::integer"),
        plain(HashKind::Int4, "c.display_id::integer"),
        ambiguous(HashKind::Int8, "c.campaign_id::bigint"),
        ambiguous(HashKind::Int8, "c.contact_id::bigint"),
        ambiguous(HashKind::Int8, "c.team_id::bigint"),
        ambiguous(HashKind::Int4, "c.assignee_id::integer"),
        ambiguous(HashKind::Int4, "c.priority::integer"),
        plain(HashKind::Int4, "c.status::integer"),
        plain(HashKind::Int4, "c.inbox_id::integer"),
    ];
    let uuid = "coalesce(uuid_hash_extended(c.uuid::uuid, 0), 1)";
    format!("hashint8extended(c.id::bigint, {})", digest_of(uuid, &columns))
}

/// Version of the rules that make target rows. Increase it when the same source row makes another target row, so that
/// verification treats rows written under the old rules as stale.
const RULES_VERSION: i64 = 2;

/// A query of the working hours of the inboxes `$2`: 14 numbers, the first and the last minute of each day from Sunday on. A
/// closed day has NULLs. The text of the numbers, for the digest, is made once an inbox here, not once a conversation.
#[must_use]
pub fn working_hours() -> String {
    let bounds: Vec<String> = (0..7)
        .flat_map(|day| ["first", "last"].map(|bound| format!("max(h.{bound}) FILTER (WHERE h.day = {day})")))
        .collect();
    let minutes = format!("ARRAY[{}]", bounds.join(", "));
    format!(
        "SELECT q.id AS inbox_id, {minutes} AS minutes, {minutes}::text AS text \
        FROM inboxes q LEFT JOIN ( \
            SELECT DISTINCT ON (h.inbox_id, h.day_of_week) h.inbox_id, h.day_of_week AS day, \
                   CASE WHEN coalesce(h.closed_all_day, false) THEN NULL WHEN h.open_all_day THEN 0 \
                        ELSE h.open_hour * 60 + coalesce(h.open_minutes, 0) END AS first, \
                   CASE WHEN coalesce(h.closed_all_day, false) THEN NULL WHEN h.open_all_day THEN 1440 \
                        ELSE h.close_hour * 60 + coalesce(h.close_minutes, 0) END AS last \
            FROM working_hours h WHERE h.inbox_id = ANY($2) ORDER BY h.inbox_id, h.day_of_week, h.id \
        ) h ON h.inbox_id = q.id \
        WHERE q.id = ANY($2) AND q.working_hours_enabled GROUP BY q.id"
    )
}

/// A `bigint` expression over `reporting_events e`.
#[must_use]
pub fn event_digest() -> String {
    let columns = [
        HashedColumn::new(HashKind::Time, "e.created_at::timestamp").unambiguous(),
        HashedColumn::new(HashKind::Time, "e.event_end_time::timestamp"),
        HashedColumn::new(HashKind::Time, "e.event_start_time::timestamp"),
        HashedColumn::new(HashKind::Int8, "e.inbox_id::bigint"),
        HashedColumn::new(HashKind::Int8, "e.user_id::bigint"),
        HashedColumn::text("e.value_in_business_hours"),
        HashedColumn::text("e.value"),
        HashedColumn::text("e.name"),
    ];
    format!("hashint8extended(e.id, {})", digest_of("0", &columns))
}

/// A `bigint` expression over the rows that `conversations c` points to: account `a`, inbox `i`, assignee `u`, team `t`,
/// contact `k`, newest satisfaction answer `s`, campaign `g`, SLA policy `p` and its state `l`, agent bot `b`; and over
/// attachments `x`, participants `y`, working hours `w` and events `e` of the conversation. The columns of the conversation
/// that only this release reads are here too: a plan does not compare this digest, so that an upgrade is no change of
/// every row. The seed is `$3`, the tenant's time zone and privacy policy. The target's
/// `related_digest` is this value plus the [`message_digest`] of every message, modulo 2⁶⁴. Never NULL.
#[must_use]
pub fn related_digest() -> String {
    let texts = [
        "a.name",
        "i.name",
        "i.channel_type",
        "i.timezone",
        "u.name",
        "u.email",
        "t.name",
        "k.name",
        "k.email",
        "k.phone_number",
        "k.identifier",
        "s.feedback_message",
        "s.agent_name",
        "c.identifier",
        "u.display_name",
        "g.title",
        "p.name",
        "b.name",
        "k.country_code",
        "y.text",
        "w.text",
        "e.digest",
    ];
    let mut columns: Vec<HashedColumn> = texts.into_iter().map(HashedColumn::text).collect();
    columns.extend([
        HashedColumn::new(HashKind::Time, "s.created_at"),
        HashedColumn::new(HashKind::Int8, "s.rating"),
        HashedColumn::new(HashKind::Int8, "s.id"),
        HashedColumn::new(HashKind::Int8, "s.assigned_agent_id::bigint"),
        HashedColumn::new(HashKind::Int8, "s.count::bigint").unambiguous(),
        HashedColumn::new(HashKind::Int8, "x.count::bigint").unambiguous(),
        HashedColumn::new(HashKind::Int8, "c.sla_policy_id::bigint"),
        HashedColumn::new(HashKind::Int8, "l.sla_status::bigint"),
        HashedColumn::new(HashKind::Int8, "c.assignee_agent_bot_id::bigint"),
        HashedColumn::new(HashKind::Int4, "k.blocked::integer").unambiguous(),
        HashedColumn::new(HashKind::Time, "k.created_at::timestamp"),
        HashedColumn::new(HashKind::Json, "c.additional_attributes::jsonb"),
        HashedColumn::new(HashKind::Json, "k.custom_attributes::jsonb"),
        HashedColumn::new(HashKind::Json, "k.additional_attributes::jsonb"),
    ]);
    format!(
        "hashint8extended(c.id::bigint, {})",
        digest_of(&rules_digest(), &columns)
    )
}

/// A `bigint` expression over contact `k`: everything of the contact that a row is made from, apart from the tenant's rules. NULL
/// without a contact. In [`related_digest`] are the same columns.
#[must_use]
pub fn contact_digest() -> String {
    let texts = [
        "k.name",
        "k.email",
        "k.phone_number",
        "k.identifier",
        "k.country_code",
    ];
    let mut columns: Vec<HashedColumn> = texts.into_iter().map(HashedColumn::text).collect();
    columns.extend([
        HashedColumn::new(HashKind::Int4, "k.blocked::integer").unambiguous(),
        HashedColumn::new(HashKind::Time, "k.created_at::timestamp"),
        HashedColumn::new(HashKind::Json, "k.custom_attributes::jsonb"),
        HashedColumn::new(HashKind::Json, "k.additional_attributes::jsonb"),
    ]);
    format!("hashint8extended(k.id::bigint, {})", digest_of("0", &columns))
}

/// The part of a message's `content_attributes` that a row needs: its text when it has one of the marks, else NULL. Attributes
/// without marks can be large, as the text of an e-mail.
pub const MESSAGE_MARKS: &str = "CASE WHEN m.content_attributes::text LIKE ANY \
    ('{%deleted%,%external_echo%,%automation_rule_id%}') THEN m.content_attributes::text END";

/// A `bigint` expression over `messages m`. It includes the conversation's id, so that a message moved to another conversation
/// changes the sum.
#[must_use]
pub fn message_digest() -> String {
    let columns = [
        HashedColumn::new(HashKind::Text, format!("({MESSAGE_MARKS})")).unambiguous(),
        HashedColumn::text("m.source_id"),
        // JSON text is never a control character
        HashedColumn::text("m.sentiment::jsonb").unambiguous(),
        HashedColumn::new(HashKind::Int4, "m.private::integer").unambiguous(),
        HashedColumn::new(HashKind::Int4, "m.status::integer"),
        HashedColumn::new(HashKind::Int4, "m.content_type::integer"),
        HashedColumn::new(HashKind::Int4, "m.message_type::integer"),
        HashedColumn::new(HashKind::Time, "m.created_at::timestamp"),
        HashedColumn::new(HashKind::Int8, "m.sender_id::bigint"),
        HashedColumn::text("m.sender_type"),
        HashedColumn::text("m.content"),
    ];
    let seed = digest_of("0", &columns);
    format!("hashint8extended(m.id::bigint, hashint8extended(m.conversation_id::bigint, {seed}))")
}

/// The innermost seed: `$3`, the tenant's time zone and policy, and the rules of this build.
pub(super) fn rules_digest() -> String {
    format!("hashtextextended($3::text, {RULES_VERSION})")
}

/// The hash of texts, as in [`digest_of`].
pub(super) fn texts_digest(texts: impl Iterator<Item = String>, innermost: &str) -> String {
    let columns: Vec<HashedColumn> = texts.map(|text| HashedColumn::text(&text)).collect();
    digest_of(innermost, &columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_row_with_a_null_value_is_checked_column_by_column() {
        let columns = [
            HashedColumn::new(HashKind::Int4, "a"),
            HashedColumn::new(HashKind::Json, "b").unambiguous(),
            HashedColumn::new(HashKind::Time, "c"),
        ];
        let plain = "timestamp_hash_extended(coalesce(c, '-infinity'), \
                     jsonb_hash_extended(coalesce(b, 'null'), hashint4extended(coalesce(a, -1), 0)))";
        let exact = "timestamp_hash_extended(coalesce(c, '-infinity'), \
                     jsonb_hash_extended(coalesce(b, 'null'), \
                     hashint4extended(coalesce(a, -1), 0 # CASE WHEN a = -1 THEN 1 ELSE 0 END)) \
                     # CASE WHEN c = '-infinity' THEN 1 ELSE 0 END)";
        assert_eq!(
            digest_of("0", &columns),
            format!("CASE WHEN least(a) < 0 OR least(c) = '-infinity' THEN {exact} ELSE {plain} END")
        );
    }

    /// Without one of them a change of it would name no conversation.
    #[test]
    fn the_digest_of_a_contact_has_all_of_the_contact_that_rows_are_made_from() {
        fn columns(expression: &str) -> std::collections::BTreeSet<&str> {
            let is_part = |character: char| character.is_alphanumeric() || ['.', '_'].contains(&character);
            expression
                .split(|character| !is_part(character))
                .filter(|word| word.starts_with("k.") && *word != "k.id")
                .collect()
        }
        let (of_row, of_contact) = (related_digest(), contact_digest());
        assert!(columns(&of_row).len() > 5);
        assert_eq!(columns(&of_contact), columns(&of_row));
    }
}

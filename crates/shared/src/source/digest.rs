//! Digests of what a target's row is made of, computed by the source itself: of the conversation's own row, and of all
//! that belongs to it elsewhere.
//!
//! Nothing on a conversation tells that it was deleted, moved into or out of an inbox, given another contact, or changed
//! with its timestamps left alone or set back. So each row of the target keeps the digest that the source had for it, and
//! every plan compares sums of digests: whatever differs is read again.
//!
//! A source that is read through a view has another digest, over what the view shows: see
//! [`ViewShape::digest`](super::view::ViewShape::digest). After a switch of mode every row is read once more.

/// A column in a digest, as PostgreSQL hashes it. The functions are PostgreSQL's own hash functions, which are fast;
/// another major version of the source may compute others, and then every row is read once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hashed {
    Int4,
    Int8,
    Text,
    Json,
    Time,
}

impl Hashed {
    /// The hash of a column, seeded with another's. Never NULL. A NULL counts as a value that stands in for it; a column
    /// that really has that value takes another seed, so the two differ.
    pub(super) fn of(self, column: &str, seed: &str) -> String {
        let (function, stand_in) = match self {
            Self::Int4 => ("hashint4extended", "-1"),
            Self::Int8 => ("hashint8extended", "-1"),
            Self::Text => ("hashtextextended", "''"),
            Self::Json => ("jsonb_hash_extended", "'null'"),
            Self::Time => ("timestamp_hash_extended", "'-infinity'"),
        };
        hashed(function, column, stand_in, seed)
    }
}

fn hashed(function: &str, column: &str, stand_in: &str, seed: &str) -> String {
    format!(
        "{function}(coalesce({column}, {stand_in}), {seed} # CASE WHEN {column} = {stand_in} THEN 1 ELSE 0 END)"
    )
}

/// The columns of a conversation's own row, the innermost seed first.
const CONVERSATION: [(Hashed, &str); 19] = [
    (Hashed::Time, "c.agent_last_seen_at"),
    (Hashed::Time, "c.contact_last_seen_at"),
    (Hashed::Time, "c.snoozed_until"),
    (Hashed::Time, "c.waiting_since"),
    (Hashed::Time, "c.first_reply_created_at"),
    (Hashed::Time, "c.last_activity_at"),
    (Hashed::Time, "c.updated_at"),
    (Hashed::Time, "c.created_at"),
    (Hashed::Json, "c.custom_attributes"),
    (Hashed::Text, "c.cached_label_list"),
    (Hashed::Int4, "c.account_id"),
    (Hashed::Int4, "c.display_id"),
    (Hashed::Int8, "c.campaign_id"),
    (Hashed::Int8, "c.contact_id"),
    (Hashed::Int8, "c.team_id"),
    (Hashed::Int4, "c.assignee_id"),
    (Hashed::Int4, "c.priority"),
    (Hashed::Int4, "c.status"),
    (Hashed::Int4, "c.inbox_id"),
];

/// A `bigint` expression over `conversations c`: its own row.
#[must_use]
pub fn conversation_digest() -> String {
    let uuid = "coalesce(uuid_hash_extended(c.uuid, 0), 1)".to_owned();
    let columns = CONVERSATION
        .iter()
        .fold(uuid, |seed, (kind, column)| kind.of(column, &seed));
    format!("hashint8extended(c.id, {columns})")
}

/// When a conversation was last changed, as far as its own row tells; NULL times are skipped. One expression, so that one
/// index serves it.
pub const CHANGED_AT: &str = "greatest(updated_at, last_activity_at, waiting_since, first_reply_created_at, \
    contact_last_seen_at, agent_last_seen_at, assignee_last_seen_at)";

/// What tells the digests of one way to make rows from those of another: grows when rows of the same source come out
/// otherwise, so that verification takes those of before for stale.
const RULES: i64 = 1;

/// A `bigint` expression over what `conversations c` points to: its account `a`, inbox `i`, assignee `u`, team `t`, contact
/// `k` and newest satisfaction answer `s`, seeded with what else rows are made by (`$3`: the tenant's time zone, and its policy). With the [`message_digest`] of every
/// message added, modulo 2⁶⁴, it is what a target's row keeps as `related_digest`. Never NULL.
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
    ];
    let related = texts
        .iter()
        .fold(rules_digest(), |seed, text| text_digest(text, &seed));
    let related = Hashed::Time.of("s.created_at", &related);
    let related = Hashed::Int8.of("s.rating", &related);
    format!("hashint8extended(c.id, {})", Hashed::Int8.of("s.id", &related))
}

/// A `bigint` expression over `messages m`, bound to the conversation, so that the sum over many tells where each belongs.
#[must_use]
pub fn message_digest() -> String {
    let seed = text_digest("m.source_id", "0");
    // no text of JSON is a control character
    let seed = format!("hashtextextended(coalesce(m.sentiment::text, E'\\x01'), {seed})");
    let seed = Hashed::Int4.of("m.private::integer", &seed);
    let seed = Hashed::Int4.of("m.status", &seed);
    let seed = Hashed::Int4.of("m.content_type", &seed);
    let seed = Hashed::Int4.of("m.message_type", &seed);
    let seed = Hashed::Time.of("m.created_at", &seed);
    let seed = Hashed::Int8.of("m.sender_id", &seed);
    let seed = text_digest("m.sender_type", &seed);
    let seed = text_digest("m.content", &seed);
    format!("hashint8extended(m.id, hashint8extended(m.conversation_id, {seed}))")
}

/// The innermost seed: what the tenant's rows are made by, `$3`, and the rules of this build.
pub(super) fn rules_digest() -> String {
    format!("hashtextextended($3::text, {RULES})")
}

/// The hash of a text, seeded with another's; a control character stands in for NULL.
pub(super) fn text_digest(text: &str, seed: &str) -> String {
    hashed("hashtextextended", &format!("{text}::text"), r"E'\x01'", seed)
}

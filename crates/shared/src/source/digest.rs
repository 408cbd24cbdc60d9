//! Digests of what a target's row is made of, computed by the source itself: of the conversation's own row, and of all
//! that belongs to it elsewhere.
//!
//! Nothing on a conversation tells that it was deleted, moved into or out of an inbox, given another contact, or changed
//! with its timestamps left alone or set back. So each row of the target keeps the digest that the source had for it, and
//! every plan compares sums of digests: whatever differs is read again.
//!
//! A source that is read through a view has another digest, over what the view shows: see
//! [`ViewShape::digest`](super::view::ViewShape::digest). After a switch of mode every row is read once more.

/// A `bigint` expression over `conversations c`. The functions are PostgreSQL's own hash functions, fast and never NULL
/// here; another major version of the source may compute others, and then every row is read once more.
pub const CONVERSATION_DIGEST: &str = "\
    hashint8extended(c.id, hashint4extended(c.inbox_id, hashint4extended(c.status, hashint4extended(coalesce(c.priority, -1), \
    hashint4extended(coalesce(c.assignee_id, -1), hashint8extended(coalesce(c.team_id, -1), \
    hashint8extended(coalesce(c.contact_id, -1), hashint8extended(coalesce(c.campaign_id, -1), \
    hashint4extended(coalesce(c.display_id, -1), hashint4extended(coalesce(c.account_id, -1), \
    hashtextextended(coalesce(c.cached_label_list, ''), \
    jsonb_hash_extended(coalesce(c.custom_attributes, 'null'), \
    timestamp_hash_extended(c.created_at, timestamp_hash_extended(c.updated_at, \
    timestamp_hash_extended(coalesce(c.last_activity_at, '-infinity'), \
    timestamp_hash_extended(coalesce(c.first_reply_created_at, '-infinity'), \
    timestamp_hash_extended(coalesce(c.waiting_since, '-infinity'), \
    timestamp_hash_extended(coalesce(c.snoozed_until, '-infinity'), \
    timestamp_hash_extended(coalesce(c.contact_last_seen_at, '-infinity'), \
    timestamp_hash_extended(coalesce(c.agent_last_seen_at, '-infinity'), \
    uuid_hash_extended(c.uuid, 0)))))))))))))))))))))";

/// When a conversation was last changed, as far as its own row tells; NULL times are skipped. One expression, so that one
/// index serves it.
pub const CHANGED_AT: &str = "greatest(updated_at, last_activity_at, waiting_since, first_reply_created_at, \
    contact_last_seen_at, agent_last_seen_at, assignee_last_seen_at)";

/// What tells the digests of one way to make rows from those of another: grows when rows of the same source come out
/// otherwise, so that verification takes those of before for stale.
const RULES: i64 = 1;

/// A `bigint` expression over what `conversations c` points to: its account `a`, inbox `i`, assignee `u`, team `t`, contact
/// `k` and newest satisfaction answer `s`, seeded with what else rows are made by (`$3`: the tenant's time zone, and its policy). With the [`MESSAGE_DIGEST`] of every
/// message added, modulo 2⁶⁴, it is what a target's row keeps as `related_digest`. Never NULL; a text that is NULL counts
/// as one control character.
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
    format!(
        "hashint8extended(c.id, hashint8extended(coalesce(s.id, -1), hashint8extended(coalesce(s.rating, -1), \
         timestamp_hash_extended(coalesce(s.created_at, '-infinity'), {related}))))"
    )
}

/// A `bigint` expression over `messages m`, bound to the conversation, so that the sum over many tells where each belongs.
pub const MESSAGE_DIGEST: &str = "\
    hashint8extended(m.id, hashint8extended(m.conversation_id, hashtextextended(coalesce(m.content::text, E'\\x01'), \
    hashtextextended(coalesce(m.sender_type::text, E'\\x01'), hashint8extended(coalesce(m.sender_id, -1), \
    timestamp_hash_extended(coalesce(m.created_at, '-infinity'), hashint4extended(coalesce(m.message_type, -1), \
    hashint4extended(coalesce(m.content_type, -1), hashint4extended(coalesce(m.status, -1), \
    hashint4extended(coalesce(m.private::integer, -1), hashtextextended(coalesce(m.sentiment::text, E'\\x01'), \
    hashtextextended(coalesce(m.source_id::text, E'\\x01'), 0))))))))))))";

/// The innermost seed: what the tenant's rows are made by, `$3`, and the rules of this build.
pub(super) fn rules_digest() -> String {
    format!("hashtextextended($3::text, {RULES})")
}

/// The hash of a text, seeded with another's.
pub(super) fn text_digest(text: &str, seed: &str) -> String {
    format!("hashtextextended(coalesce({text}::text, E'\\x01'), {seed})")
}

//! The digest of a conversation's own row, computed by the source itself.
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

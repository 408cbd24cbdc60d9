//! Times, and the columns computed from their differences.

use super::round::{quotient, whole_seconds};
use crate::row::columns::Times;
use crate::row::source::SourceConversation;

const SECOND: i128 = 1_000_000;
const MINUTE: i128 = 60 * SECOND;

pub(super) fn times(source: &SourceConversation, is_resolved: bool) -> Times {
    let response = source
        .first_reply_created_at
        .and_then(|reply| reply.micros_since(source.created_at));
    let resolution = is_resolved
        .then(|| source.updated_at.micros_since(source.created_at))
        .flatten();
    Times {
        conversation_created_at: source.created_at,
        conversation_updated_at: source.updated_at,
        last_activity_at: source.last_activity_at,
        first_reply_created_at: source.first_reply_created_at,
        waiting_since: source.waiting_since,
        contact_last_seen_at: source.contact_last_seen_at,
        agent_last_seen_at: source.agent_last_seen_at,
        first_response_time_seconds: response.and_then(whole_seconds),
        first_response_time_minutes: response.and_then(|micros| quotient(micros, MINUTE)),
        resolution_time_seconds: resolution.and_then(whole_seconds),
        is_fast_response: response.map(|micros| micros < 5 * MINUTE),
        is_slow_response: response.map(|micros| micros > 30 * MINUTE),
        is_fast_resolution: resolution.map(|micros| micros < 120 * MINUTE),
        // Chatwoot before 4.4 leaves waiting_since behind in resolved conversations
        is_waiting: !is_resolved && source.waiting_since.is_some(),
        contact_has_seen: source.contact_last_seen_at.is_some(),
        agent_has_seen: source.agent_last_seen_at.is_some(),
    }
}

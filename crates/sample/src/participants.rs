//! Agents who take part in a conversation.

use chrono::NaiveDateTime;
use rand::{Rng, RngExt};

use crate::copy::{Rows, Table};
use crate::messages::MessageContext;

pub static PARTICIPANTS: Table = Table {
    name: "conversation_participants",
    columns: "id, account_id, user_id, conversation_id, created_at, updated_at",
};

/// None to four different agents of the account, not in the order of their ids.
pub fn choose(context: &MessageContext<'_>, rng: &mut impl Rng) -> Vec<i32> {
    let agents = &context.tenant.agent_ids;
    let count = match rng.random_range(0..20) {
        0..12 => 0,
        12..17 => 1,
        17..19 => 2,
        _ => 4,
    };
    let all = agents.end - agents.start;
    let first = rng.random_range(0..all);
    (0..count.min(all))
        .map(|step| agents.start + (first - step).rem_euclid(all))
        .collect()
}

pub fn push(rows: &mut Rows, id: i64, agent: i32, context: &MessageContext<'_>, at: NaiveDateTime) {
    rows.push(&[
        &id,
        &i64::from(context.tenant.account_id),
        &i64::from(agent),
        &i64::from(context.conversation_id),
        &at,
        &at,
    ]);
}

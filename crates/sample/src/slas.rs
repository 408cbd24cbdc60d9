//! SLA policies applied to conversations, and what became of them.

use crate::conversation::{Conversation, RESOLVED};
use crate::copy::{Jsonb, Rows, Table};
use crate::layout::Tenant;
use crate::messages::MessageContext;

pub static APPLIED_SLAS: Table = Table {
    name: "applied_slas",
    columns: "id, account_id, sla_policy_id, conversation_id, created_at, updated_at, sla_status",
};
pub static SLA_EVENTS: Table = Table {
    name: "sla_events",
    columns: "id, applied_sla_id, conversation_id, account_id, sla_policy_id, inbox_id, event_type, meta, \
              created_at, updated_at",
};

/// Chatwoot's numbers for `applied_slas.sla_status`.
pub const ACTIVE: i32 = 0;
pub const HIT: i32 = 1;
pub const MISSED: i32 = 2;
pub const ACTIVE_WITH_MISSES: i32 = 3;

/// One in so many conversations with a policy has it since before Chatwoot kept what became of it.
const NOT_APPLIED: i32 = 31;

/// The policy of one in four conversations.
pub fn policy_of(conversation_id: i32, tenant: &Tenant) -> Option<i32> {
    let policies = tenant.sla_policy_ids();
    (conversation_id % 4 == 1).then(|| policies.start + conversation_id / 4 % Tenant::SLA_POLICIES)
}

/// Adds the rows of a conversation with a policy. The ids are the conversation's own.
pub fn push(
    applied: &mut Rows,
    events: &mut Rows,
    context: &MessageContext<'_>,
    conversation: &Conversation,
) {
    let Some(policy) = conversation.sla_policy_id else {
        return;
    };
    let number = context.conversation_id;
    if number % NOT_APPLIED == 0 {
        return;
    }
    let missed = number / 4 % 3 == 0;
    let status = match (conversation.status == RESOLVED, missed) {
        (false, false) => ACTIVE,
        (true, false) => HIT,
        (true, true) => MISSED,
        (false, true) => ACTIVE_WITH_MISSES,
    };
    let id = i64::from(number);
    let account = i64::from(context.tenant.account_id);
    let changed_at = conversation.last_activity_at;
    applied.push(&[
        &id,
        &account,
        &i64::from(policy),
        &id,
        &conversation.created_at,
        &changed_at,
        &status,
    ]);
    if missed {
        // first reply, next reply, resolution
        let kind = number % 3;
        events.push(&[
            &id,
            &id,
            &id,
            &account,
            &i64::from(policy),
            &i64::from(context.inbox_id),
            &kind,
            &Jsonb("{}"),
            &changed_at,
            &changed_at,
        ]);
    }
}

//! Rows of a conversation and its survey responses.

use chrono::{NaiveDateTime, TimeDelta};
use rand::{Rng, RngExt};
use uuid::{Builder, Uuid};

use crate::copy::{Jsonb, Rows, Table};
use crate::messages::{Message, MessageContext};
use crate::text::{nth, pick};
use crate::words::{CONVERSATION_ATTRIBUTES, CONVERSATION_DETAILS, LABELS};

pub static CONVERSATIONS: Table = Table {
    name: "conversations",
    columns: "id, account_id, inbox_id, status, assignee_id, created_at, updated_at, contact_id, display_id, \
              contact_last_seen_at, agent_last_seen_at, assignee_last_seen_at, first_reply_created_at, \
              snoozed_until, last_activity_at, waiting_since, additional_attributes, custom_attributes, \
              contact_inbox_id, uuid, identifier, team_id, campaign_id, priority, cached_label_list, sla_policy_id, \
              assignee_agent_bot_id",
};
pub static RESPONSES: Table = Table {
    name: "csat_survey_responses",
    columns: "id, account_id, conversation_id, message_id, rating, feedback_message, contact_id, \
              assigned_agent_id, created_at, updated_at",
};

/// Chatwoot's numbers for `conversations.status`.
pub const OPEN: i32 = 0;
pub const RESOLVED: i32 = 1;
pub const PENDING: i32 = 2;
pub const SNOOZED: i32 = 3;

pub struct Conversation {
    pub assignee_id: Option<i32>,
    pub status: i32,
    pub created_at: NaiveDateTime,
    pub updated_at: NaiveDateTime,
    pub last_activity_at: NaiveDateTime,
    pub first_reply_created_at: Option<NaiveDateTime>,
    pub waiting_since: Option<NaiveDateTime>,
    pub contact_id: Option<i32>,
    pub sla_policy_id: Option<i32>,
    pub messages: Vec<Message>,
    pub responses: Vec<Response>,
}

pub struct Response {
    pub message_id: i32,
    pub rating: i32,
    pub feedback: Option<&'static str>,
    pub created_at: NaiveDateTime,
}

impl Conversation {
    pub fn push(
        &self,
        rows: &mut Rows,
        context: &MessageContext<'_>,
        display_id: i32,
        reference: NaiveDateTime,
        rng: &mut impl Rng,
    ) {
        let seen_at = |share| rng.random_ratio(share, 10).then_some(self.last_activity_at);
        let [contact_seen_at, agent_seen_at, assignee_seen_at] = [5, 7, 3].map(seen_at);
        let snoozed_until = (self.status == SNOOZED && rng.random_ratio(4, 5))
            .then(|| reference + TimeDelta::hours(rng.random_range(1..240)));
        let team_id = (!context.tenant.team_ids.is_empty() && rng.random_ratio(1, 2))
            .then(|| rng.random_range(context.tenant.team_ids.clone()));
        let before_campaigns = i64::from(context.tenant.campaign_ids().start - 1);
        // nobody is assigned while a bot is
        let has_bot = self.assignee_id.is_none() && context.conversation_id % 3 == 0;
        let agent_bot = has_bot.then(|| i64::from(context.tenant.agent_bot()));
        rows.push(&[
            &context.conversation_id,
            &context.tenant.account_id,
            &context.inbox_id,
            &self.status,
            &self.assignee_id,
            &self.created_at,
            &self.updated_at,
            &self.contact_id.map(i64::from),
            &display_id,
            &contact_seen_at,
            &agent_seen_at,
            &assignee_seen_at,
            &self.first_reply_created_at,
            &snoozed_until,
            &self.last_activity_at,
            &self.waiting_since,
            &nth(CONVERSATION_DETAILS, context.conversation_id).map(Jsonb),
            &Some(Jsonb(pick(rng, CONVERSATION_ATTRIBUTES))),
            &self.contact_id.map(i64::from),
            &random_uuid(rng),
            &rng.random_ratio(1, 50)
                .then(|| format!("pedido-{}", context.conversation_id)),
            &team_id.map(i64::from),
            &rng.random_ratio(1, 15)
                .then(|| before_campaigns + rng.random_range(1..=20_i64)),
            &rng.random_ratio(2, 5).then(|| rng.random_range(0..=3)),
            &pick(rng, LABELS),
            &self.sla_policy_id.map(i64::from),
            &agent_bot,
        ]);
    }
}

impl Response {
    pub fn push(&self, rows: &mut Rows, id: i32, context: &MessageContext<'_>, conversation: &Conversation) {
        // some were assigned to another agent when the survey was sent
        let agent = match id % 6 {
            0 => Some(context.tenant.agent_ids.start),
            _ => conversation.assignee_id,
        };
        rows.push(&[
            &i64::from(id),
            &i64::from(context.tenant.account_id),
            &i64::from(context.conversation_id),
            &i64::from(self.message_id),
            &self.rating,
            &self.feedback,
            &conversation.contact_id.map(i64::from),
            &agent.map(i64::from),
            &self.created_at,
            &self.created_at,
        ]);
    }
}

fn random_uuid(rng: &mut impl Rng) -> Uuid {
    Builder::from_random_bytes(rng.random()).into_uuid()
}

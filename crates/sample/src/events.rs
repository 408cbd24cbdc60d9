//! Reporting events of a conversation, as Chatwoot's listeners write them while it goes on.

use chrono::NaiveDateTime;
use rand::{Rng, RngExt};
use tidemark_shared::chatwoot::Version;

use crate::conversation::{Conversation, OPEN, RESOLVED};
use crate::copy::{Rows, Table};
use crate::inboxes::{Bot, Inbox};
use crate::messages::{INCOMING, INPUT_CSAT, Message, MessageContext, OUTGOING};

pub static EVENTS: Table = Table {
    name: "reporting_events",
    columns: "id, name, value, value_in_business_hours, account_id, inbox_id, user_id, conversation_id, \
              event_start_time, event_end_time, created_at, updated_at",
};

pub const FIRST_RESPONSE: &str = "first_response";
pub const REPLY_TIME: &str = "reply_time";
pub const CONVERSATION_RESOLVED: &str = "conversation_resolved";
pub const BOT_RESOLVED: &str = "conversation_bot_resolved";
pub const BOT_HANDOFF: &str = "conversation_bot_handoff";
pub const OPENED: &str = "conversation_opened";
pub const INFERENCE_RESOLVED: &str = "conversation_captain_inference_resolved";
pub const INFERENCE_HANDOFF: &str = "conversation_captain_inference_handoff";

/// The releases that began to write an event. The others are as old as the table.
const SINCE: [(&str, &str); 6] = [
    (BOT_HANDOFF, "2.15.0"),
    (REPLY_TIME, "3.0.0"),
    (BOT_RESOLVED, "3.7.0"),
    (OPENED, "4.6.0"),
    (INFERENCE_RESOLVED, "4.12.0"),
    (INFERENCE_HANDOFF, "4.12.0"),
];

/// The names of events that a version does not write.
pub fn unknown_to(version: Version) -> Vec<&'static str> {
    SINCE
        .into_iter()
        .filter(|(_, since)| since.parse().is_ok_and(|since: Version| version < since))
        .map(|(name, _)| name)
        .collect()
}

/// Each of these occurs once in so many conversations; primes, like the other oddities.
mod once_in {
    /// Resolved before Chatwoot wrote events.
    pub const NO_RESOLUTION: i32 = 59;
    /// Its events have no times and no business hours, as those of Chatwoot 2.4.
    pub const NO_TIMES: i32 = 53;
}

#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: &'static str,
    pub value: i64,
    pub business: Option<i64>,
    pub user_id: Option<i32>,
    pub started_at: NaiveDateTime,
    pub ended_at: NaiveDateTime,
}

impl Event {
    pub fn push(&self, rows: &mut Rows, id: i64, context: &MessageContext<'_>) {
        let has_times = context.conversation_id % once_in::NO_TIMES != 0;
        rows.push(&[
            &id,
            &self.name,
            &as_float(self.value),
            &self.business.filter(|_| has_times).map(as_float),
            &context.tenant.account_id,
            &context.inbox_id,
            &self.user_id,
            &context.conversation_id,
            &has_times.then_some(self.started_at),
            &has_times.then_some(self.ended_at),
            &self.ended_at,
            &self.ended_at,
        ]);
    }
}

/// Ruby's difference of two `to_i`.
pub fn seconds(from: NaiveDateTime, to: NaiveDateTime) -> i64 {
    to.and_utc().timestamp() - from.and_utc().timestamp()
}

#[expect(clippy::cast_precision_loss, reason = "seconds of centuries are exact")]
pub fn as_float(seconds: i64) -> f64 {
    seconds as f64
}

/// The events of a conversation, in the order in which they happen.
pub fn of(
    conversation: &Conversation,
    context: &MessageContext<'_>,
    inbox: &Inbox,
    rng: &mut impl Rng,
) -> Vec<Event> {
    let mut story = Story {
        conversation,
        inbox,
        events: Vec::new(),
        now: conversation.created_at,
        waiting_since: Some(conversation.created_at),
        answered: false,
        has_agent: false,
        handed_off: false,
        opened_at: None,
        bot_resolved_at: None,
        resolved_at: None,
    };
    let mut reopenings = match rng.random_range(0..40) {
        0 => 3,
        1..3 => 2,
        3..8 => 1,
        _ => 0,
    };
    for (index, message) in conversation.messages.iter().enumerate() {
        story.has_agent |= message.message_type == OUTGOING && message.sender_type == Some("User");
        // imports and back-dated messages write no events, and surveys come after the resolution
        if message.created_at < story.now || message.content_type == INPUT_CSAT {
            continue;
        }
        let from_customer = message.message_type == INCOMING && !message.private;
        if from_customer && index > 1 && reopenings > 0 && rng.random_ratio(1, 3) {
            reopenings -= 1;
            let agents = &context.tenant.agent_ids;
            let agent = rng.random_ratio(1, 2).then(|| rng.random_range(agents.clone()));
            story.resolve(agent.or(conversation.assignee_id), rng);
        }
        if message.is_human_response() && !story.answered {
            story.maybe_hand_off(rng);
        }
        story.tell(message);
    }
    if conversation.status == RESOLVED && context.conversation_id % once_in::NO_RESOLUTION != 0 {
        story.resolve(conversation.assignee_id, rng);
    } else if conversation.status == OPEN && !story.answered {
        story.maybe_hand_off(rng);
    }
    story.events
}

/// A conversation until now.
struct Story<'a> {
    conversation: &'a Conversation,
    inbox: &'a Inbox,
    events: Vec<Event>,
    now: NaiveDateTime,
    waiting_since: Option<NaiveDateTime>,
    answered: bool,
    /// Whether an agent wrote, be it a note.
    has_agent: bool,
    handed_off: bool,
    opened_at: Option<NaiveDateTime>,
    bot_resolved_at: Option<NaiveDateTime>,
    /// The last resolution, as long as it was not opened again.
    resolved_at: Option<NaiveDateTime>,
}

impl Story<'_> {
    fn tell(&mut self, message: &Message) {
        self.now = message.created_at;
        if message.private {
            return;
        }
        if message.message_type == INCOMING {
            // in an inbox with a bot it is pending again, until an agent answers
            if !self.inbox.has_active_bot() {
                self.reopen();
            }
            self.waiting_since.get_or_insert(self.now);
        } else if message.is_human_response() {
            self.reopen();
            self.reply(message);
        } else if message.is_from_bot() {
            self.waiting_since = None;
        }
    }

    fn reply(&mut self, message: &Message) {
        let waiting_since = self.waiting_since.take();
        if !self.answered {
            self.answered = true;
            let created_at = self.conversation.created_at;
            let from = self.opened_at.or(self.bot_resolved_at).unwrap_or(created_at);
            self.write(FIRST_RESPONSE, from, message.sender_id);
        } else if let Some(from) = waiting_since {
            self.write(REPLY_TIME, from, self.conversation.assignee_id);
        }
    }

    fn resolve(&mut self, user_id: Option<i32>, rng: &mut impl Rng) {
        let from = self.conversation.created_at;
        if self.inbox.has_active_bot() && !self.has_agent {
            if self.inbox.bot == Bot::Assistant && rng.random_ratio(1, 2) {
                self.write_inference(INFERENCE_RESOLVED);
            }
            self.write(BOT_RESOLVED, from, user_id);
            self.bot_resolved_at = Some(self.now);
        }
        self.write(CONVERSATION_RESOLVED, from, user_id);
        self.resolved_at = Some(self.now);
        self.waiting_since = None;
    }

    fn reopen(&mut self) {
        if let Some(from) = self.resolved_at.take() {
            self.write(OPENED, from, self.conversation.assignee_id);
            self.opened_at = Some(self.now);
        }
    }

    /// Two of three bots hand off what they cannot answer. Nobody is assigned yet.
    fn maybe_hand_off(&mut self, rng: &mut impl Rng) {
        let hands_off = rng.random_ratio(2, 3);
        if !self.inbox.has_active_bot() || self.handed_off || !hands_off {
            return;
        }
        self.handed_off = true;
        let created_at = self.conversation.created_at;
        if self.inbox.bot == Bot::Assistant && rng.random_ratio(1, 2) {
            self.write_inference(INFERENCE_HANDOFF);
        }
        self.write(BOT_HANDOFF, created_at, None);
        if self.resolved_at.is_some() {
            self.reopen();
        } else {
            self.events.push(Event {
                name: OPENED,
                value: 0,
                business: Some(0),
                user_id: None,
                started_at: created_at,
                ended_at: self.now,
            });
        }
        self.opened_at = Some(self.now);
        self.waiting_since.get_or_insert(self.now);
    }

    fn write(&mut self, name: &'static str, from: NaiveDateTime, user_id: Option<i32>) {
        let hours = self.inbox.hours.as_ref();
        self.events.push(Event {
            name,
            value: seconds(from, self.now),
            business: Some(hours.map_or(0, |hours| hours.seconds_within(from, self.now))),
            user_id,
            started_at: from,
            ended_at: self.now,
        });
    }

    fn write_inference(&mut self, name: &'static str) {
        let from = self.conversation.created_at;
        self.events.push(Event {
            name,
            value: seconds(from, self.now),
            business: None,
            user_id: None,
            started_at: from,
            ended_at: self.now,
        });
    }
}

//! Messages of a conversation.

use chrono::{NaiveDateTime, TimeDelta};
use rand::{Rng, RngExt};

use crate::attributes::{AUTOMATION, Attributes, ECHO, EDITED, NONE};
use crate::copy::{Jsonb, Rows, Table};
use crate::layout::Tenant;
use crate::text::{document, pick, short_text};
use crate::timeline::Timeline;
use crate::words::{ACTIVITIES, GREETINGS, SENTIMENTS, SURVEY};

pub static MESSAGES: Table = Table {
    name: "messages",
    columns: "id, content, account_id, inbox_id, conversation_id, message_type, created_at, updated_at, private, \
              status, source_id, content_type, content_attributes, sender_type, sender_id, sentiment",
};

/// Chatwoot's numbers for `message_type`.
pub const INCOMING: i32 = 0;
pub const OUTGOING: i32 = 1;
pub const ACTIVITY: i32 = 2;
pub const TEMPLATE: i32 = 3;

/// Chatwoot's numbers for `content_type`.
pub const TEXT: i32 = 0;
pub const INPUT_CSAT: i32 = 9;

/// Chatwoot's numbers for `status`.
const SENT: i32 = 0;
pub const NOT_DELIVERED: i32 = 3;

/// Values that a message takes from its conversation.
#[derive(Debug)]
pub struct MessageContext<'a> {
    pub conversation_id: i32,
    pub tenant: &'a Tenant,
    pub inbox_id: i32,
    /// The contact who writes: usually the conversation's own.
    pub writer_id: Option<i32>,
    pub language: &'static [&'static str],
}

#[derive(Debug)]
pub struct Message {
    pub id: i32,
    pub content: Option<String>,
    pub message_type: i32,
    pub created_at: NaiveDateTime,
    pub updated_at: NaiveDateTime,
    pub private: bool,
    pub status: Option<i32>,
    pub source_id: Option<String>,
    pub content_type: i32,
    pub attributes: Attributes,
    pub attributes_as_string: bool,
    pub sender_type: Option<&'static str>,
    pub sender_id: Option<i32>,
    pub sentiment: Option<Jsonb>,
}

impl Message {
    pub fn push(&self, rows: &mut Rows, context: &MessageContext<'_>) {
        rows.push(&[
            &self.id,
            &self.content,
            &context.tenant.account_id,
            &context.inbox_id,
            &context.conversation_id,
            &self.message_type,
            &self.created_at,
            &self.updated_at,
            &self.private,
            &self.status,
            &self.source_id,
            &self.content_type,
            &self.attributes.stored(self.attributes_as_string),
            &self.sender_type,
            &self.sender_id.map(i64::from),
            &self.sentiment,
        ]);
    }

    /// Whether somebody or a bot wrote it, and not Chatwoot itself.
    pub fn is_written(&self) -> bool {
        matches!(self.message_type, INCOMING | OUTGOING)
    }

    /// Whether an agent wrote it for the contact in Chatwoot.
    pub fn is_reply(&self) -> bool {
        self.message_type == OUTGOING
            && !self.private
            && self.sender_type == Some("User")
            && self.attributes != AUTOMATION
    }

    /// Whether Chatwoot counts it as an agent's reply: echoes too.
    pub fn is_human_response(&self) -> bool {
        self.is_reply() || self.attributes == ECHO
    }

    pub fn is_from_bot(&self) -> bool {
        matches!(self.sender_type, Some("AgentBot" | "Captain::Assistant"))
    }
}

/// Generates `count` messages, numbered from `first_id`.
pub fn generate(
    context: &MessageContext<'_>,
    first_id: i32,
    count: i32,
    timeline: &mut Timeline,
    rng: &mut impl Rng,
) -> Vec<Message> {
    (0..count)
        .map(|index| {
            let at = match index {
                0 => timeline.now(),
                // answers at the same time, within minutes, or hours later
                _ => match rng.random_range(0..10) {
                    0 => timeline.now(),
                    1..8 => timeline.advance(rng, TimeDelta::minutes(6)),
                    _ => timeline.advance(rng, TimeDelta::hours(9)),
                },
            };
            let kind = if index == 0 { 0 } else { rng.random_range(0..100) };
            message(context, first_id + index, kind, at, rng)
        })
        .collect()
}

/// One message. `kind` in 0..100 selects type and sender.
fn message(
    context: &MessageContext<'_>,
    id: i32,
    kind: i32,
    at: NaiveDateTime,
    rng: &mut impl Rng,
) -> Message {
    let agent = rng.random_range(context.tenant.agent_ids.clone());
    let (message_type, private, sender_type, sender_id) = match kind {
        0..44 => (INCOMING, false, Some("Contact"), context.writer_id),
        44..78 => (OUTGOING, false, Some("User"), Some(agent)),
        78..84 => (
            OUTGOING,
            false,
            Some("AgentBot"),
            Some(context.tenant.agent_bot()),
        ),
        84..86 => {
            let assistant = context.tenant.assistant();
            (OUTGOING, false, Some("Captain::Assistant"), Some(assistant))
        }
        86..91 => (OUTGOING, true, Some("User"), Some(agent)),
        91..92 => (INCOMING, true, Some("Contact"), context.writer_id),
        92..97 => (ACTIVITY, false, None, None),
        _ => (TEMPLATE, false, None, None),
    };
    let is_written = matches!(message_type, INCOMING | OUTGOING);
    let content = match message_type {
        ACTIVITY => Some(pick(rng, ACTIVITIES).to_owned()),
        TEMPLATE => Some(pick(rng, GREETINGS).to_owned()),
        // attachments have no text, or an empty one
        _ => match rng.random_range(0..60) {
            0 | 1 => None,
            2 => Some(String::new()),
            _ => Some(short_text(rng, context.language)),
        },
    };
    let status = match message_type {
        OUTGOING if !private => rng.random_range(0..=3),
        _ => SENT,
    };
    Message {
        id,
        content,
        message_type,
        created_at: at,
        updated_at: at,
        private,
        status: rng.random_ratio(399, 400).then_some(status),
        source_id: (is_written && rng.random_ratio(2, 5))
            .then(|| format!("wamid.{:016X}", rng.random::<u64>())),
        content_type: TEXT,
        attributes: if rng.random_ratio(1, 30) { EDITED } else { NONE },
        attributes_as_string: false,
        sender_type,
        sender_id,
        sentiment: match rng.random_range(0..12) {
            0 if is_written => Some(Jsonb(pick(rng, SENTIMENTS))),
            1 => None,
            _ => Some(Jsonb("{}")),
        },
    }
}

/// The message that asks for a rating.
pub fn survey(id: i32, at: NaiveDateTime) -> Message {
    Message {
        id,
        content: Some(SURVEY.to_owned()),
        message_type: TEMPLATE,
        created_at: at,
        updated_at: at,
        private: false,
        status: Some(SENT),
        source_id: None,
        content_type: INPUT_CSAT,
        attributes: NONE,
        attributes_as_string: false,
        sender_type: None,
        sender_id: None,
        sentiment: Some(Jsonb("{}")),
    }
}

/// Replaces one message with a long document. Short documents are common; the longest has 150,000 characters.
pub fn paste_document(context: &MessageContext<'_>, messages: &mut [Message], rng: &mut impl Rng) {
    let length = 150_000 / rng.random_range(1..=30);
    if let Some(message) = messages
        .iter_mut()
        .find(|message| message.message_type == INCOMING)
    {
        message.content = Some(document(rng, context.language, length));
    }
}

//! Who handled a conversation: counts by sender and kind, the texts of customer and agent, and who wrote last.

use tidemark_postgres::source_time::SourceTime;

use super::error::TransformError;
use super::text::{self, assign};
use crate::row::columns::Handling;
use crate::row::source::{SourceConversation, SourceMessage};

// Chatwoot's enum values
const INCOMING: i32 = 0;
const OUTGOING: i32 = 1;
const ACTIVITY: i32 = 2;
const TEMPLATE: i32 = 3;
const FAILED: i32 = 3;
const CSAT_REQUEST: i32 = 9;

/// The part of a conversation's messages that shows who handled it. No counter overflows: the fold bounds the messages.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Handlers {
    agent_count: i32,
    bot_count: i32,
    ai_count: i32,
    activity_count: i32,
    template_count: i32,
    automation_count: i32,
    deleted_count: i32,
    failed_count: i32,
    csat_request_count: i32,
    first_customer_text: Option<String>,
    last_customer_text: Option<String>,
    last_agent_text: Option<String>,
    has_customer_text: bool,
    last_agent_at: Option<SourceTime>,
    last_customer_at: Option<SourceTime>,
    customer_wrote_last: bool,
}

impl Handlers {
    /// Adds the next message in order. `text` is its text as it is stored.
    pub(super) fn push(&mut self, message: &SourceMessage<'_>, text: Option<&str>) {
        let marks = message.marks;
        self.activity_count += i32::from(message.message_type == Some(ACTIVITY));
        self.template_count += i32::from(message.message_type == Some(TEMPLATE));
        self.automation_count += i32::from(marks.is_automation);
        self.deleted_count += i32::from(marks.is_deleted);
        self.failed_count += i32::from(message.status == Some(FAILED));
        self.csat_request_count += i32::from(message.content_type == Some(CSAT_REQUEST));
        if message.private {
            return;
        }
        let is_customer = message.sender_type == Some("Contact");
        let is_agent = message.message_type == Some(OUTGOING)
            && (marks.is_external_echo || (message.sender_type == Some("User") && !marks.is_automation));
        self.agent_count += i32::from(is_agent);
        self.bot_count += i32::from(message.sender_type == Some("AgentBot"));
        self.ai_count += i32::from(message.sender_type == Some("Captain::Assistant"));
        if matches!(message.message_type, Some(INCOMING | OUTGOING)) {
            self.customer_wrote_last = is_customer;
        }
        if is_customer {
            self.last_customer_at = Some(message.created_at);
            if !marks.is_deleted {
                if !self.has_customer_text {
                    self.has_customer_text = true;
                    self.first_customer_text = text.map(str::to_owned);
                }
                assign(&mut self.last_customer_text, text);
            }
        }
        if is_agent {
            self.last_agent_at = Some(message.created_at);
            if !marks.is_deleted {
                assign(&mut self.last_agent_text, text);
            }
        }
    }
}

pub(super) fn handling(
    source: &SourceConversation,
    handlers: Handlers,
    is_open: bool,
) -> Result<Handling<'_>, TransformError> {
    let details = &source.details;
    let csat = source.csat.as_ref();
    let has_machine = handlers.bot_count > 0 || handlers.ai_count > 0;
    Ok(Handling {
        agent_messages_count: handlers.agent_count,
        bot_messages_count: handlers.bot_count,
        ai_messages_count: handlers.ai_count,
        activity_messages_count: handlers.activity_count,
        template_messages_count: handlers.template_count,
        automation_messages_count: handlers.automation_count,
        deleted_messages_count: handlers.deleted_count,
        failed_messages_count: handlers.failed_count,
        csat_requests_count: handlers.csat_request_count,
        csat_responses_count: source.csat_responses_count,
        csat_assigned_agent_id: csat.and_then(|csat| csat.assigned_agent_id),
        csat_assigned_agent_name: text::name(
            "csat_assigned_agent_name",
            csat.and_then(|csat| csat.assigned_agent_name.as_deref()),
            255,
        )?,
        first_customer_text: handlers.first_customer_text,
        last_customer_text: handlers.last_customer_text,
        last_agent_text: handlers.last_agent_text,
        assignee_agent_bot_id: details.assignee_agent_bot_id,
        assignee_agent_bot_name: text::name(
            "assignee_agent_bot_name",
            details.assignee_agent_bot_name.as_deref(),
            255,
        )?,
        handled_by: match (handlers.agent_count > 0, has_machine) {
            (true, false) => "human",
            (true, true) => "mixed",
            (false, true) => "bot",
            (false, false) if details.assignee_agent_bot_id.is_some() => "bot",
            (false, false) => "nobody",
        },
        last_agent_message_at: handlers.last_agent_at,
        last_customer_message_at: handlers.last_customer_at,
        is_awaiting_reply: is_open && handlers.customer_wrote_last,
    })
}

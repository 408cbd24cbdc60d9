//! What becomes of messages besides being sent: echoes, automation, deletions, failures and surveys without an answer.

use chrono::TimeDelta;
use rand::{Rng, RngExt};

use crate::attributes::{AUTOMATION, DELETED, ECHO, FAILED, NONE};
use crate::conversation::RESOLVED;
use crate::inboxes::Inbox;
use crate::layout::Layout;
use crate::messages::{ACTIVITY, INPUT_CSAT, Message, NOT_DELIVERED, TEMPLATE};
use crate::words::{self, RESOLVED_BY, SURVEY};

/// Marks some of a conversation's messages. Most rows have their attributes as Rails' `store` writes them.
pub fn mark(messages: &mut [Message], inbox: &Inbox, status: i32, layout: &Layout, rng: &mut impl Rng) {
    for message in &mut *messages {
        message.attributes_as_string = rng.random_ratio(3, 4);
        let kind = rng.random_range(0..100);
        let is_written = message.is_written();
        match kind {
            0..2 if is_written => {
                message.content = Some(words::DELETED.to_owned());
                message.attributes = DELETED;
                let deleted_at = message.created_at + TimeDelta::minutes(3);
                message.updated_at = deleted_at.min(layout.reference).max(message.created_at);
            }
            2..12 if message.is_reply() && inbox.has_echoes() => {
                message.attributes = ECHO;
                (message.sender_type, message.sender_id) = (None, None);
            }
            12..16 if message.is_reply() => {
                message.attributes = AUTOMATION;
                if kind < 15 {
                    (message.sender_type, message.sender_id) = (None, None);
                }
            }
            16..26 if message.message_type == TEMPLATE && message.content_type != INPUT_CSAT => {
                message.content = Some(SURVEY.to_owned());
                message.content_type = INPUT_CSAT;
            }
            _ if message.status == Some(NOT_DELIVERED) && message.attributes == NONE => {
                message.attributes = FAILED;
            }
            _ => {}
        }
    }
    let last = messages
        .iter_mut()
        .rfind(|message| message.content_type != INPUT_CSAT);
    if let Some(last) = last
        && status == RESOLVED
        && last.message_type == ACTIVITY
    {
        last.content = Some(RESOLVED_BY.to_owned());
    }
}

//! Conversations whose messages have been read, and whose row wants one thing more: the phone of a client who is not the
//! conversation's contact. It is the messages that say who that is, so all phones of a slice are read after them.

use std::collections::HashMap;

use super::tables::Conversation;
use crate::transform::fold::MessageFold;

/// So much of messages is pending; a conversation beyond is read a second time, when its client's phone is known.
const MAX_PENDING_BYTES: usize = 1 << 20;

/// A conversation with all of its messages.
pub(super) struct CompleteConversation {
    pub conversation: Conversation,
    pub fold: MessageFold,
    /// The sum over its messages, so that the source may add them up in any order.
    pub messages_digest: i64,
}

impl CompleteConversation {
    /// Its client, when that one's phone is neither the contact's nor among these.
    pub fn unknown_client(&self, phones: &HashMap<i64, Option<String>>) -> Option<i64> {
        let contact = self.conversation.record.contact_id;
        let client = self.fold.client_sender_id();
        client.filter(|client| contact != Some(*client) && !phones.contains_key(client))
    }
}

/// Those of one slice.
#[derive(Default)]
pub(super) struct PendingPhones {
    pub conversations: Vec<CompleteConversation>,
    pub clients: Vec<i64>,
    bytes: usize,
}

impl PendingPhones {
    /// Holds a conversation; `false` when that would be too much.
    pub fn try_push(&mut self, complete: CompleteConversation, client: i64) -> bool {
        let bytes = self.bytes + complete.fold.byte_count();
        if bytes > MAX_PENDING_BYTES {
            return false;
        }
        self.bytes = bytes;
        self.clients.push(client);
        self.conversations.push(complete);
        true
    }
}

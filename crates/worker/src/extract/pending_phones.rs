//! Conversations that are complete but for the phone number of their client, who is not their contact.
//!
//! Only the messages show who the client is. So the phone numbers are read after the messages, all with one query.

use std::collections::HashMap;

use super::tables::Conversation;
use crate::transform::fold::MessageFold;

/// The limit for messages kept in memory. A conversation above it is read a second time, when its client's phone is
/// known.
const MAX_PENDING_BYTES: usize = 1 << 20;

/// A conversation with all of its messages.
pub(super) struct CompleteConversation {
    pub conversation: Conversation,
    pub fold: MessageFold,
    /// The sum of the digests of its messages; a sum, so that their order does not matter.
    pub messages_digest: i64,
}

impl CompleteConversation {
    /// The client whose phone is still unknown; `None` when the client is the contact or is in `phones`.
    pub fn unknown_client(&self, phones: &HashMap<i64, Option<String>>) -> Option<i64> {
        let contact = self.conversation.record.contact_id;
        let client = self.fold.client_sender_id();
        client.filter(|client| contact != Some(*client) && !phones.contains_key(client))
    }
}

/// The conversations of one query that wait for phone numbers.
#[derive(Default)]
pub(super) struct PendingPhones {
    pub conversations: Vec<CompleteConversation>,
    pub clients: Vec<i64>,
    bytes: usize,
}

impl PendingPhones {
    /// Adds a conversation, or returns `false` when it would exceed the limit.
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

//! The kinds of change.

use std::fmt;

use serde::{Serialize, Serializer};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    ConversationCreated,
    MessageCreated,
    /// The text of a message is replaced; the conversation does not notice.
    MessageEdited,
    /// A message's text gives way to a notice; the conversation does not notice.
    MessageDeleted,
    /// Sent, delivered, read, failed; the conversation does not notice.
    DeliveryChanged,
    /// Reopened, or back to pending.
    StatusChanged,
    /// Resolved, and in a second write `waiting_since` cleared behind `updated_at`.
    Resolved,
    Snoozed,
    Assigned,
    Labelled,
    /// An agent or the contact looked at it: behind `updated_at`.
    Seen,
    /// A survey is answered, now and then for the second time; the conversation does not notice.
    SurveyAnswered,
    ContactRenamed,
    /// Conversations point to another contact, behind every timestamp.
    ContactsMerged,
    /// A conversation is gone, with its messages and responses.
    ConversationDeleted,
}

impl ChangeKind {
    pub const ALL: [Self; 15] = [
        Self::ConversationCreated,
        Self::MessageCreated,
        Self::MessageEdited,
        Self::MessageDeleted,
        Self::DeliveryChanged,
        Self::StatusChanged,
        Self::Resolved,
        Self::Snoozed,
        Self::Assigned,
        Self::Labelled,
        Self::Seen,
        Self::SurveyAnswered,
        Self::ContactRenamed,
        Self::ContactsMerged,
        Self::ConversationDeleted,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConversationCreated => "conversation_created",
            Self::MessageCreated => "message_created",
            Self::MessageEdited => "message_edited",
            Self::MessageDeleted => "message_deleted",
            Self::DeliveryChanged => "delivery_changed",
            Self::StatusChanged => "status_changed",
            Self::Resolved => "resolved",
            Self::Snoozed => "snoozed",
            Self::Assigned => "assigned",
            Self::Labelled => "labelled",
            Self::Seen => "seen",
            Self::SurveyAnswered => "survey_answered",
            Self::ContactRenamed => "contact_renamed",
            Self::ContactsMerged => "contacts_merged",
            Self::ConversationDeleted => "conversation_deleted",
        }
    }

    /// How often it is drawn, out of a hundred.
    pub(super) const fn weight(self) -> u32 {
        match self {
            Self::MessageCreated => 29,
            Self::DeliveryChanged => 12,
            Self::ConversationCreated => 10,
            Self::Resolved | Self::Seen => 8,
            Self::StatusChanged | Self::Assigned => 5,
            Self::MessageEdited | Self::Labelled | Self::SurveyAnswered => 4,
            Self::Snoozed | Self::ContactRenamed => 3,
            // Fewer than begin: the sample grows.
            Self::MessageDeleted | Self::ConversationDeleted => 2,
            Self::ContactsMerged => 1,
        }
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for ChangeKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

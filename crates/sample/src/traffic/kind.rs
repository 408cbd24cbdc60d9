//! The kinds of change.

use std::fmt;

use serde::{Serialize, Serializer};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    ConversationCreated,
    MessageCreated,
    /// Replaces a message's text. The conversation row does not change.
    MessageEdited,
    /// Replaces a message's text with a deletion notice and deletes its attachments. The conversation row does not change.
    MessageDeleted,
    /// Changes a message's status to delivered, read or failed. The conversation row does not change.
    DeliveryChanged,
    /// Reopens a conversation, or sets it back to pending.
    StatusChanged,
    /// Resolves a conversation. A second write clears `waiting_since` and leaves `updated_at` alone.
    Resolved,
    Snoozed,
    Assigned,
    Labelled,
    /// An agent or the contact has seen it. `updated_at` does not change.
    Seen,
    /// Answers a survey, sometimes for the second time. The conversation row does not change.
    SurveyAnswered,
    ContactRenamed,
    /// Gives conversations another contact. No timestamp of them changes.
    ContactsMerged,
    /// Applies an SLA policy, or changes what became of one. Then the conversation row does not change.
    SlaChanged,
    /// The conversation row does not change.
    ParticipantJoined,
    /// Deletes a conversation with everything that belongs to it.
    ConversationDeleted,
}

impl ChangeKind {
    pub const ALL: [Self; 17] = [
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
        Self::SlaChanged,
        Self::ParticipantJoined,
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
            Self::SlaChanged => "sla_changed",
            Self::ParticipantJoined => "participant_joined",
            Self::ConversationDeleted => "conversation_deleted",
        }
    }

    /// How often it is drawn, in 104.
    pub(super) const fn weight(self) -> u32 {
        match self {
            Self::MessageCreated => 29,
            Self::DeliveryChanged => 12,
            Self::ConversationCreated => 10,
            Self::Resolved | Self::Seen => 8,
            Self::StatusChanged | Self::Assigned => 5,
            Self::MessageEdited | Self::Labelled | Self::SurveyAnswered => 4,
            Self::Snoozed | Self::ContactRenamed => 3,
            // fewer deletions than new rows, so that the sample grows
            Self::MessageDeleted | Self::ConversationDeleted => 2,
            Self::SlaChanged | Self::ParticipantJoined => 2,
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

//! Inboxes of Chatwoot.

use serde::Serialize;

/// An inbox as the source knows it; the texts are `None` when the source was not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inbox {
    pub id: i32,
    pub name: Option<String>,
    pub channel_type: Option<String>,
}

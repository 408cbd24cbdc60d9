//! Inboxes of Chatwoot.

use serde::Serialize;

/// An inbox of the source. The texts are `None` when the source was not queried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inbox {
    pub id: i32,
    pub name: Option<String>,
    pub channel_type: Option<String>,
}

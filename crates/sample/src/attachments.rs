//! Attachments of messages.

use rand::{Rng, RngExt};

use crate::attributes::DELETED;
use crate::copy::{Jsonb, Rows, Table};
use crate::messages::{Message, MessageContext};
use crate::text::pick;

pub static ATTACHMENTS: Table = Table {
    name: "attachments",
    columns: "id, file_type, external_url, message_id, account_id, created_at, updated_at, fallback_title, \
              extension, meta",
};

/// Chatwoot's numbers for `attachments.file_type`, with a usual extension.
const FILES: [(i32, Option<&str>); 5] = [
    (0, Some("jpg")),
    (0, None),
    (1, Some("ogg")),
    (2, Some("mp4")),
    (3, Some("pdf")),
];

/// The number of a message's attachments. A message without content has at least one; a deleted one lost them.
pub fn count(message: &Message, rng: &mut impl Rng) -> i32 {
    let drawn = match rng.random_range(0..160) {
        0 => 3,
        1..4 => 2,
        4..12 => 1,
        _ => 0,
    };
    if !message.is_written() || message.attributes == DELETED {
        return 0;
    }
    if message.content.is_none() {
        drawn.max(1)
    } else {
        drawn
    }
}

pub fn push(rows: &mut Rows, id: i32, message: &Message, context: &MessageContext<'_>, rng: &mut impl Rng) {
    let (file_type, extension) = pick(rng, &FILES);
    let url = rng
        .random_ratio(1, 4)
        .then(|| format!("https://media.example.com/{id}"));
    let title: Option<&str> = None;
    rows.push(&[
        &id,
        &file_type,
        &url,
        &message.id,
        &context.tenant.account_id,
        &message.created_at,
        &message.created_at,
        &title,
        &extension,
        &Jsonb("{}"),
    ]);
}

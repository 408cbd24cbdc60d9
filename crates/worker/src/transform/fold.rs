//! Folds the messages of one conversation into columns.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use tidemark_postgres::source_time::SourceTime;
use tidemark_shared::selection::Sender;

use super::error::TransformError;
use super::handling::Handlers;
use super::json;
use super::privacy::Privacy;
use super::round::{divide, quotient, whole_seconds};
use super::text;
use crate::row::columns::Messages;
use crate::row::source::SourceMessage;
use crate::row::value::{Json, Numeric};

const COLUMN: &str = "message_compiled";
/// Chatwoot's sender types are shorter. Longer ones are not recorded.
const MAX_SENDER_TYPE: usize = 100;

/// The senders of messages, without contacts, each with its first and last message.
#[derive(Debug, Default)]
pub struct Senders(BTreeMap<Sender, (i64, i64)>);

impl Senders {
    /// Adds the senders of another conversation.
    pub fn add(&mut self, others: Self) {
        for (sender, (first, last)) in others.0 {
            self.note(sender, first, last);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Sender, (i64, i64))> {
        self.0.iter().map(|(sender, messages)| (sender, *messages))
    }

    fn note(&mut self, sender: Sender, first: i64, last: i64) {
        let known = self.0.entry(sender).or_insert((first, last));
        *known = (known.0.min(first), known.1.max(last));
    }

    fn push(&mut self, message: &SourceMessage<'_>) {
        let (Some(sender_type), Some(id)) = (message.sender_type, message.sender_id) else {
            return;
        };
        if sender_type == "Contact" || sender_type.len() > MAX_SENDER_TYPE {
            return;
        }
        // most conversations have one agent: do not copy its type again for later messages
        let known = self
            .0
            .iter_mut()
            .find(|(known, _)| known.id == id && known.sender_type == sender_type);
        if let Some((_, messages)) = known {
            *messages = (messages.0.min(message.id), messages.1.max(message.id));
            return;
        }
        let sender = Sender {
            sender_type: sender_type.to_owned(),
            id,
        };
        self.note(sender, message.id, message.id);
    }
}

/// Folds messages one by one, so that memory is bounded by one conversation.
///
/// The first bad message refuses the row: [`transform`](super::transform) returns its error, and later messages are
/// ignored.
#[derive(Debug, Default)]
pub struct MessageFold {
    privacy: Arc<Privacy>,
    error: Option<TransformError>,
    senders: Senders,
    /// `message_compiled` without its closing bracket.
    compiled: String,
    first_at: Option<SourceTime>,
    last: Option<(SourceTime, i64)>,
    public_count: i32,
    private_count: i32,
    /// Public messages only, like `contact_count`.
    user_count: i32,
    contact_count: i32,
    has_user: bool,
    has_contact: bool,
    client_sender_id: Option<i64>,
    first_public: Option<PublicMessage>,
    last_public: Option<PublicMessage>,
    text_count: i32,
    character_sum: u64,
    character_max: u64,
    handlers: Handlers,
}

impl MessageFold {
    /// A fold that keeps every text.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A fold that applies these rules to the texts.
    #[must_use]
    pub fn with_privacy(privacy: &Arc<Privacy>) -> Self {
        Self {
            privacy: Arc::clone(privacy),
            ..Self::default()
        }
    }

    /// Adds the next message in ascending order of `(created_at, id)`.
    pub fn push(&mut self, message: &SourceMessage<'_>) {
        let text = self.privacy.message_text(message);
        if self.error.is_none()
            && let Err(error) = self.compile(message, text.as_deref())
        {
            self.error = Some(error);
            self.compiled = String::new();
        }
        if self.error.is_none() {
            self.count(message, text);
            self.senders.push(message);
        }
    }

    /// Removes and returns the senders.
    pub fn take_senders(&mut self) -> Senders {
        std::mem::take(&mut self.senders)
    }

    /// The bytes of the compiled messages.
    #[must_use]
    pub const fn byte_count(&self) -> usize {
        self.compiled.len()
    }

    /// The sender of the first message from a contact, private messages included.
    #[must_use]
    pub const fn client_sender_id(&self) -> Option<i64> {
        self.client_sender_id
    }

    fn compile(&mut self, message: &SourceMessage<'_>, text: Option<&str>) -> Result<(), TransformError> {
        if self
            .last
            .is_some_and(|last| last >= (message.created_at, message.id))
        {
            return Err(TransformError::MessageOrder);
        }
        let text = text::whole(COLUMN, text)?;
        let sender = text::whole(COLUMN, message.sender_type)?;
        let sentiment = text::json(COLUMN, message.sentiment)?;
        let source_id = text::whole(COLUMN, message.source_id)?;

        // the keys are in the order of jsonb, by length and then by bytes: the server parses it a sixth faster than others
        let out = &mut self.compiled;
        out.push(if out.is_empty() { '[' } else { ',' });
        json::field(out, "{\"text\":", &text);
        json::field(out, ",\"sender\":", &sender);
        json::field(out, ",\"status\":", &message.status);
        json::field(out, ",\"private\":", &message.private);
        json::field(out, ",\"sent_at\":", &message.created_at);
        json::field(out, ",\"sender_id\":", &message.sender_id);
        json::field(out, ",\"sentiment\":", &sentiment);
        json::field(out, ",\"source_id\":", &source_id);
        json::field(out, ",\"message_id\":", &message.id);
        json::field(out, ",\"content_type\":", &message.content_type);
        json::field(out, ",\"message_type\":", &message.message_type);
        out.push('}');
        if self.compiled.len() >= text::MAX_BYTES {
            return Err(TransformError::TooLong { column: COLUMN });
        }
        Ok(())
    }

    /// No counter overflows: each message takes some bytes of the compiled text, whose length is bounded.
    fn count(&mut self, message: &SourceMessage<'_>, text: Option<Cow<'_, str>>) {
        self.first_at.get_or_insert(message.created_at);
        self.last = Some((message.created_at, message.id));

        let from_user = message.sender_type == Some("User");
        let from_contact = message.sender_type == Some("Contact");
        if from_contact && !self.has_contact {
            self.client_sender_id = message.sender_id;
        }
        self.has_user |= from_user;
        self.has_contact |= from_contact;
        self.handlers.push(message, text.as_deref());
        if message.private {
            self.private_count += 1;
            return;
        }

        self.public_count += 1;
        self.user_count += i32::from(from_user);
        self.contact_count += i32::from(from_contact);
        if let Some(content) = message.content {
            let characters = content.chars().count() as u64;
            self.text_count += 1;
            self.character_sum += characters;
            self.character_max = self.character_max.max(characters);
        }
        match &mut self.last_public {
            Some(last) => last.replace(message, text.as_deref()),
            None => {
                let public = PublicMessage::new(message, text);
                self.last_public = Some(public.clone());
                self.first_public = Some(public);
            }
        }
    }

    /// The columns, or the error of the first bad message.
    pub(crate) fn finish(mut self, is_resolved: bool) -> Result<(Messages, Handlers), TransformError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let all_count = self.public_count + self.private_count;
        let duration = match (&self.first_public, &self.last_public) {
            (Some(first), Some(last)) => last.created_at.micros_since(first.created_at),
            _ => None,
        };
        let gap_count = i128::from(self.public_count) - 1;
        let ratio = |count: i32| quotient(count.into(), all_count.into()).unwrap_or(Numeric::ZERO);
        let (first_message_text, first_message_sender_type) = PublicMessage::texts(self.first_public);
        let (last_message_text, last_message_sender_type) = PublicMessage::texts(self.last_public);

        let messages = Messages {
            message_compiled: (all_count > 0).then(|| {
                self.compiled.push(']');
                Json(self.compiled)
            }),
            t_messages: all_count,
            total_messages_public: self.public_count,
            total_messages_private: self.private_count,
            user_messages_count: self.user_count,
            contact_messages_count: self.contact_count,
            system_messages_count: self.public_count - self.user_count - self.contact_count,
            private_notes_count: self.private_count,
            mc_first_message_at: self.first_at,
            mc_last_message_at: self.last.map(|(created_at, _)| created_at),
            first_message_text,
            last_message_text,
            first_message_sender_type,
            last_message_sender_type,
            conversation_duration_seconds: duration.and_then(whole_seconds),
            avg_time_between_messages_seconds: duration
                .filter(|_| gap_count > 0)
                .and_then(|micros| quotient(micros, gap_count * 1_000_000)),
            avg_message_length: (self.text_count > 0)
                .then(|| divide(self.character_sum.into(), self.text_count.into()))
                .and_then(|average| i32::try_from(average).ok()),
            max_message_length: (self.text_count > 0)
                .then_some(self.character_max)
                .and_then(|longest| i32::try_from(longest).ok()),
            has_user_messages: self.has_user,
            has_contact_messages: self.has_contact,
            has_private_notes: self.private_count > 0,
            has_contact_reply: self.has_contact,
            is_short_conversation: self.public_count <= 5,
            is_long_conversation: self.public_count > 20,
            user_message_ratio: ratio(self.user_count),
            contact_message_ratio: ratio(self.contact_count),
            has_human_intervention: self.user_count > 0,
            is_bot_resolved: is_resolved && self.user_count == 0,
        };
        Ok((messages, self.handlers))
    }
}

/// The parts of the first and the last public message that the row has.
#[derive(Debug, Clone)]
struct PublicMessage {
    created_at: SourceTime,
    text: Option<String>,
    sender_type: Option<String>,
}

impl PublicMessage {
    fn new(message: &SourceMessage<'_>, text: Option<Cow<'_, str>>) -> Self {
        Self {
            created_at: message.created_at,
            text: text.map(Cow::into_owned),
            sender_type: sender_type(message).map(str::to_owned),
        }
    }

    /// Overwrites an earlier message and reuses its memory.
    fn replace(&mut self, message: &SourceMessage<'_>, content: Option<&str>) {
        self.created_at = message.created_at;
        text::assign(&mut self.text, content);
        text::assign(&mut self.sender_type, sender_type(message));
    }

    fn texts(message: Option<Self>) -> (Option<String>, Option<String>) {
        message.map_or((None, None), |message| (message.text, message.sender_type))
    }
}

fn sender_type<'a>(message: &SourceMessage<'a>) -> Option<&'a str> {
    message.sender_type.map(|sender_type| text::cut(sender_type, 50))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::source::MessageMarks;

    #[test]
    fn messages_longer_than_jsonb_are_refused_and_freed() {
        let mut fold = MessageFold {
            compiled: "[".repeat(text::MAX_BYTES - 1),
            ..MessageFold::new()
        };
        fold.push(&SourceMessage {
            id: 1,
            content: None,
            sender_type: None,
            sender_id: None,
            created_at: SourceTime::MIN,
            message_type: None,
            content_type: None,
            status: None,
            private: false,
            sentiment: None,
            source_id: None,
            marks: MessageMarks::default(),
        });
        assert_eq!(fold.compiled.capacity(), 0);
        assert_eq!(
            fold.finish(false).unwrap_err(),
            TransformError::TooLong { column: COLUMN }
        );
    }
}

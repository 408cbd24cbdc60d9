//! Reads a conversation's messages from the JSON array that a view compiles.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use tidemark_postgres::source_time::SourceTime;

use crate::row::source::{MessageMarks, SourceMessage};
use crate::transform::TransformError;
use crate::transform::fold::MessageFold;
use crate::transform::privacy::Privacy;

/// An element of `message_compiled`. Other keys are ignored.
#[derive(Deserialize)]
struct Element<'a> {
    /// The key must exist: otherwise any other object would count as "no message".
    #[serde(deserialize_with = "Option::deserialize")]
    message_id: Option<i64>,
    text: Option<String>,
    sender: Option<String>,
    sender_id: Option<i64>,
    sent_at: Option<String>,
    message_type: Option<i32>,
    content_type: Option<i32>,
    status: Option<i32>,
    private: Option<bool>,
    /// The raw text, so that its numbers keep their spelling.
    #[serde(borrow)]
    sentiment: Option<&'a RawValue>,
    source_id: Option<String>,
    #[serde(borrow)]
    content_attributes: Option<&'a RawValue>,
}

impl Element<'_> {
    /// Whether this is the element that a view's outer join gives for a conversation without messages.
    const fn is_nothing(&self) -> bool {
        self.message_id.is_none() && self.sent_at.is_none()
    }

    fn message(&self) -> Option<SourceMessage<'_>> {
        Some(SourceMessage {
            id: self.message_id?,
            content: self.text.as_deref(),
            sender_type: self.sender.as_deref(),
            sender_id: self.sender_id,
            created_at: self.sent_at.as_deref()?.parse::<SourceTime>().ok()?,
            message_type: self.message_type,
            content_type: self.content_type,
            status: self.status,
            private: self.private?,
            sentiment: self.sentiment.map(RawValue::get),
            source_id: self.source_id.as_deref(),
            marks: MessageMarks::parse(self.content_attributes.map(RawValue::get)),
        })
    }
}

/// Sorts the messages, folds them and skips duplicates.
///
/// # Errors
/// When the text is no array of messages.
pub(super) fn fold(compiled: Option<&str>, privacy: &Arc<Privacy>) -> Result<MessageFold, TransformError> {
    let elements: Option<Vec<Option<Element<'_>>>> = match compiled {
        None => None,
        Some(json) => serde_json::from_str(json).map_err(|_| TransformError::UnreadableMessage)?,
    };
    let elements: Vec<Element<'_>> = elements
        .into_iter()
        .flatten()
        .flatten()
        .filter(|element| !element.is_nothing())
        .collect();
    let mut messages = elements
        .iter()
        .map(|element| element.message().ok_or(TransformError::UnreadableMessage))
        .collect::<Result<Vec<_>, _>>()?;
    messages.sort_by_key(|message| (message.created_at, message.id));

    let mut fold = MessageFold::with_privacy(privacy);
    let mut seen = HashSet::with_capacity(messages.len());
    for message in &messages {
        if seen.insert(message.id) {
            fold.push(message);
        }
    }
    Ok(fold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::columns::Messages;
    use crate::row::value::Json;

    fn folded(compiled: &str) -> Result<Messages, TransformError> {
        Ok(fold(Some(compiled), &Arc::default())?.finish(false)?.0)
    }

    fn ids(messages: &Messages) -> Vec<i64> {
        #[derive(Deserialize)]
        struct Id {
            message_id: i64,
        }
        let Some(Json(compiled)) = &messages.message_compiled else {
            return Vec::new();
        };
        let ids: Vec<Id> = serde_json::from_str(compiled).unwrap();
        ids.into_iter().map(|id| id.message_id).collect()
    }

    #[test]
    fn messages_are_sorted_and_duplicates_are_skipped() {
        let messages = folded(
            r#"[{"message_id": 3, "sent_at": "2024-03-06T10:00:00", "private": false, "text": "c"},
                {"message_id": 1, "sent_at": "2024-03-06 10:00:00+00:00", "private": false, "text": "b"},
                {"message_id": 9, "sent_at": "-infinity", "private": true, "text": "a", "extra": {}},
                {"message_id": 3, "sent_at": "2024-03-07T10:00:00", "private": false, "text": "d"}]"#,
        )
        .unwrap();
        assert_eq!(ids(&messages), [9, 1, 3]);
        assert_eq!((messages.t_messages, messages.private_notes_count), (3, 1));
        assert_eq!(messages.last_message_text.as_deref(), Some("c"));
    }

    #[test]
    fn a_sentiment_keeps_its_spelling() {
        let sentiment = r#"{"score": 123456789012345678901234567890.10, "e": [1E+5, {}]}"#;
        let Some(Json(compiled)) = folded(&format!(
            r#"[{{"message_id": 1, "sent_at": "2024-03-06T10:00:00", "private": false, "sentiment": {sentiment}}}]"#
        ))
        .unwrap()
        .message_compiled
        else {
            panic!("there is a message")
        };
        assert!(compiled.contains(sentiment), "{compiled}");
    }

    #[test]
    fn no_message_has_several_forms() {
        let nothing =
            r#"[{"message_id": null, "sent_at": null, "private": null, "text": null, "sentiment": null}]"#;
        for compiled in [None, Some("null"), Some("[]"), Some("[null]"), Some(nothing)] {
            let (messages, _) = fold(compiled, &Arc::default()).unwrap().finish(false).unwrap();
            assert_eq!((messages.message_compiled, messages.t_messages), (None, 0));
        }
    }

    #[test]
    fn an_element_that_is_no_message_refuses_the_conversation() {
        for compiled in [
            "{}",
            "[1]",
            "[[]]",
            "[{}]",
            r#"[{"id": 1, "content": "x"}]"#,
            r#"[{"message_id": null, "sent_at": "2024-03-06T10:00:00", "private": false}]"#,
            r#"[{"id": 1, "sent_at": "2024-03-06T10:00:00", "private": false}]"#,
            r#"[{"message_id": 1, "private": false}]"#,
            r#"[{"message_id": 1, "sent_at": "yesterday", "private": false}]"#,
            r#"[{"message_id": 1, "sent_at": "2024-03-06T10:00:00"}]"#,
            r#"[{"message_id": "1", "sent_at": "2024-03-06T10:00:00", "private": false}]"#,
            r#"[{"message_id": 1, "sent_at": "2024-03-06T10:00:00", "private": false, "status": "sent"}]"#,
        ] {
            assert_eq!(
                folded(compiled).unwrap_err(),
                TransformError::UnreadableMessage,
                "{compiled}"
            );
        }
    }
}

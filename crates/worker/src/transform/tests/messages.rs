use super::*;
use crate::row::columns::Messages;

/// An outgoing public message of a user at noon.
pub(super) fn message(id: i64) -> SourceMessage<'static> {
    SourceMessage {
        id,
        content: Some("Olá"),
        sender_type: Some("User"),
        sender_id: Some(5),
        created_at: at("2024-03-15T12:00:00"),
        message_type: Some(1),
        content_type: Some(0),
        status: Some(0),
        private: false,
        sentiment: None,
        source_id: None,
        marks: MessageMarks::default(),
    }
}

pub(super) fn from_contact(id: i64) -> SourceMessage<'static> {
    SourceMessage {
        sender_type: Some("Contact"),
        sender_id: Some(900 + id),
        ..message(id)
    }
}

pub(super) fn note(id: i64) -> SourceMessage<'static> {
    SourceMessage {
        private: true,
        ..message(id)
    }
}

fn folded(messages: &[SourceMessage<'_>]) -> MessageFold {
    let mut fold = MessageFold::new();
    for message in messages {
        fold.push(message);
    }
    fold
}

fn columns(messages: &[SourceMessage<'_>]) -> Messages {
    columns_with_status(0, messages).unwrap()
}

fn columns_with_status(status: i32, messages: &[SourceMessage<'_>]) -> Result<Messages, TransformError> {
    let tenant = TenantContext {
        tenant_id: 7,
        timezone: chrono_tz::UTC,
        privacy: Arc::default(),
    };
    let source = SourceConversation {
        status: Some(status),
        ..conversation()
    };
    transform(&tenant, &source, folded(messages), None).map(|row| row.messages)
}

#[test]
fn messages_are_compiled_with_their_keys_in_order() {
    let row = columns(&[
        SourceMessage {
            content: Some("a \"b\" \\ \n\u{1}é🙂"),
            sentiment: Some(r#"{"label": "pos", "score": 0.10}"#),
            source_id: Some("wamid.1"),
            created_at: at("2024-03-15T12:00:00.12"),
            ..message(1)
        },
        SourceMessage {
            content: None,
            sender_type: None,
            sender_id: None,
            message_type: None,
            content_type: None,
            status: None,
            private: true,
            created_at: SourceTime::INFINITY,
            ..message(2)
        },
    ]);
    let expected = concat!(
        r#"[{"text":"a \"b\" \\ \n\u0001é🙂","sender":"User","status":0,"private":false,"#,
        r#""sent_at":"2024-03-15T12:00:00.12","sender_id":5,"sentiment":{"label": "pos", "score": 0.10},"#,
        r#""source_id":"wamid.1","message_id":1,"content_type":0,"message_type":1},"#,
        r#"{"text":null,"sender":null,"status":null,"private":true,"sent_at":"infinity","sender_id":null,"#,
        r#""sentiment":null,"source_id":null,"message_id":2,"content_type":null,"message_type":null}]"#,
    );
    assert_eq!(row.message_compiled.unwrap().0, expected);
}

#[test]
fn a_conversation_without_messages_has_counts_of_zero() {
    let row = columns(&[]);
    assert_eq!(row.message_compiled, None);
    assert_eq!(
        (
            row.t_messages,
            row.total_messages_public,
            row.total_messages_private
        ),
        (0, 0, 0)
    );
    assert_eq!((row.user_messages_count, row.contact_messages_count), (0, 0));
    assert_eq!((row.system_messages_count, row.private_notes_count), (0, 0));
    assert_eq!((row.mc_first_message_at, row.mc_last_message_at), (None, None));
    assert_eq!((row.first_message_text, row.last_message_text), (None, None));
    assert_eq!(
        (row.first_message_sender_type, row.last_message_sender_type),
        (None, None)
    );
    assert_eq!(
        (
            row.conversation_duration_seconds,
            row.avg_time_between_messages_seconds
        ),
        (None, None)
    );
    assert_eq!((row.avg_message_length, row.max_message_length), (None, None));
    assert_eq!(
        [
            row.has_user_messages,
            row.has_contact_messages,
            row.has_private_notes
        ],
        [false; 3]
    );
    assert_eq!(
        (row.is_short_conversation, row.is_long_conversation),
        (true, false)
    );
    assert_eq!(
        (
            row.user_message_ratio.scaled(),
            row.contact_message_ratio.scaled()
        ),
        (0, 0)
    );
    assert_eq!((row.has_human_intervention, row.is_bot_resolved), (false, false));
}

#[test]
fn messages_are_counted_by_sender_and_privacy() {
    let row = columns(&[
        from_contact(1),
        message(2),
        message(3),
        SourceMessage {
            sender_type: None,
            ..message(4)
        },
        SourceMessage {
            sender_type: Some("AgentBot"),
            ..message(5)
        },
        SourceMessage {
            sender_type: Some("user"),
            ..message(6)
        },
        note(7),
    ]);
    assert_eq!(
        (
            row.t_messages,
            row.total_messages_public,
            row.total_messages_private
        ),
        (7, 6, 1)
    );
    assert_eq!((row.user_messages_count, row.contact_messages_count), (2, 1));
    assert_eq!((row.system_messages_count, row.private_notes_count), (3, 1));
    // 2/7 and 1/7
    assert_eq!(
        (
            row.user_message_ratio.scaled(),
            row.contact_message_ratio.scaled()
        ),
        (29, 14)
    );
    assert_eq!(
        [
            row.has_user_messages,
            row.has_contact_messages,
            row.has_private_notes
        ],
        [true; 3]
    );
    assert!(row.has_contact_reply && row.has_human_intervention);
}

#[test]
fn private_messages_set_the_sender_flags_but_are_not_counted_by_sender() {
    let row = columns(&[
        note(1),
        SourceMessage {
            private: true,
            ..from_contact(2)
        },
    ]);
    assert_eq!(
        [
            row.has_user_messages,
            row.has_contact_messages,
            row.has_contact_reply
        ],
        [true; 3]
    );
    assert_eq!((row.user_messages_count, row.contact_messages_count), (0, 0));
    assert_eq!(
        (
            row.user_message_ratio.scaled(),
            row.contact_message_ratio.scaled()
        ),
        (0, 0)
    );
    assert!(!row.has_human_intervention);
    assert_eq!(
        (row.first_message_text, row.conversation_duration_seconds),
        (None, None)
    );
    assert_eq!(row.mc_first_message_at, Some(at("2024-03-15T12:00:00")));
}

#[test]
fn a_ratio_rounds_half_away_from_zero() {
    // one user's message of eight: 0.125
    let messages: Vec<_> = (1..=8)
        .map(|id| if id == 1 { message(id) } else { note(id) })
        .collect();
    assert_eq!(columns(&messages).user_message_ratio.scaled(), 13);
    assert_eq!(columns(&messages[..1]).user_message_ratio.scaled(), 100);
}

#[test]
fn the_client_is_the_first_contact_to_write() {
    assert_eq!(folded(&[]).client_sender_id(), None);
    assert_eq!(folded(&[message(1)]).client_sender_id(), None);
    assert_eq!(
        folded(&[message(1), from_contact(2), from_contact(3)]).client_sender_id(),
        Some(902)
    );
    let private = SourceMessage {
        private: true,
        ..from_contact(1)
    };
    assert_eq!(folded(&[private, from_contact(2)]).client_sender_id(), Some(901));
    let unknown = SourceMessage {
        sender_id: None,
        ..from_contact(1)
    };
    assert_eq!(folded(&[unknown, from_contact(2)]).client_sender_id(), None);
}

#[test]
fn the_first_and_the_last_public_message_are_shown() {
    let long = "s".repeat(51);
    let row = columns(&[
        SourceMessage {
            content: Some("nota"),
            ..note(1)
        },
        SourceMessage {
            content: None,
            ..from_contact(2)
        },
        SourceMessage {
            content: Some("a longer text in between"),
            ..message(3)
        },
        SourceMessage {
            content: Some(""),
            sender_type: Some(&long),
            ..message(4)
        },
        SourceMessage {
            content: Some("nota"),
            ..note(5)
        },
    ]);
    assert_eq!(
        (
            row.first_message_text.as_deref(),
            row.last_message_text.as_deref()
        ),
        (None, Some(""))
    );
    assert_eq!(row.first_message_sender_type.as_deref(), Some("Contact"));
    assert_eq!(
        row.last_message_sender_type.as_deref(),
        Some("s".repeat(50).as_str())
    );

    let row = columns(&[
        message(1),
        SourceMessage {
            content: None,
            sender_type: None,
            ..message(2)
        },
    ]);
    assert_eq!(
        (row.first_message_text.as_deref(), row.last_message_text),
        (Some("Olá"), None)
    );
    assert_eq!(row.last_message_sender_type, None);

    let row = columns(&[message(1)]);
    assert_eq!(row.first_message_text, row.last_message_text);
}

#[test]
fn lengths_are_of_public_texts_in_characters() {
    // 3, 4 and 0 characters: 7/3 is 2.33
    let row = columns(&[
        message(1),
        SourceMessage {
            content: Some("🙂שלו"),
            ..message(2)
        },
        SourceMessage {
            content: Some(""),
            ..message(3)
        },
        SourceMessage {
            content: None,
            ..message(4)
        },
        SourceMessage {
            content: Some("a note that is long"),
            ..note(5)
        },
    ]);
    assert_eq!(
        (row.avg_message_length, row.max_message_length),
        (Some(2), Some(4))
    );

    // 3 and 4 characters: 3.5
    let row = columns(&[
        message(1),
        SourceMessage {
            content: Some("1234"),
            ..message(2)
        },
    ]);
    assert_eq!(
        (row.avg_message_length, row.max_message_length),
        (Some(4), Some(4))
    );

    let row = columns(&[SourceMessage {
        content: None,
        ..message(1)
    }]);
    assert_eq!((row.avg_message_length, row.max_message_length), (None, None));
}

#[test]
fn a_duration_runs_between_public_messages() {
    let sent = |id, text| SourceMessage {
        created_at: at(text),
        ..message(id)
    };
    let early_note = SourceMessage {
        private: true,
        ..sent(1, "2024-03-15T11:00:00")
    };
    let late_note = SourceMessage {
        private: true,
        ..sent(9, "2024-03-15T13:00:00")
    };
    // public messages, seconds, tenths of a second between two of them
    for (public, seconds, tenths) in [
        (vec![], None, None),
        (vec![sent(2, "2024-03-15T12:00:00")], Some(0), None),
        (
            vec![sent(2, "2024-03-15T12:00:00"), sent(3, "2024-03-15T12:00:00")],
            Some(0),
            Some(0),
        ),
        (
            vec![sent(2, "2024-03-15T12:00:00"), sent(3, "2024-03-15T12:00:10.5")],
            Some(11),
            Some(105),
        ),
        (
            vec![
                sent(2, "2024-03-15T12:00:00"),
                sent(3, "2024-03-15T12:00:10.449999"),
            ],
            Some(10),
            Some(104),
        ),
        // 0.1 s over two gaps: 0.05
        (
            vec![
                sent(2, "2024-03-15T12:00:00"),
                sent(3, "2024-03-15T12:00:00"),
                sent(4, "2024-03-15T12:00:00.1"),
            ],
            Some(0),
            Some(1),
        ),
    ] {
        let messages = [vec![early_note], public, vec![late_note]].concat();
        let row = columns(&messages);
        assert_eq!(row.conversation_duration_seconds, seconds);
        assert_eq!(
            row.avg_time_between_messages_seconds
                .map(|average| average.scaled()),
            tenths
        );
        assert_eq!(row.mc_first_message_at, Some(at("2024-03-15T11:00:00")));
        assert_eq!(row.mc_last_message_at, Some(at("2024-03-15T13:00:00")));
    }
}

#[test]
fn a_duration_without_bound_is_null_and_one_too_long_only_where_it_does_not_fit() {
    let sent = |id, created_at| SourceMessage {
        created_at,
        ..message(id)
    };
    let row = columns(&[message(1), sent(2, SourceTime::INFINITY)]);
    assert_eq!(
        (
            row.conversation_duration_seconds,
            row.avg_time_between_messages_seconds
        ),
        (None, None)
    );
    assert_eq!(row.mc_last_message_at, Some(SourceTime::INFINITY));

    // 9,435,184,819,199.999999 s, more than an i64 holds in microseconds
    let row = columns(&[sent(1, SourceTime::MIN), sent(2, SourceTime::MAX)]);
    assert_eq!(row.conversation_duration_seconds, None);
    let tenths = row
        .avg_time_between_messages_seconds
        .map(|average| average.scaled());
    assert_eq!(tenths, Some(94_351_848_192_000));
}

#[test]
fn a_conversation_is_short_to_five_and_long_above_twenty() {
    for (count, short, long) in [
        (5, true, false),
        (6, false, false),
        (20, false, false),
        (21, false, true),
    ] {
        let mut messages: Vec<_> = (1..=count).map(message).collect();
        messages.extend((101..=130).map(note));
        let row = columns(&messages);
        assert_eq!(
            (row.is_short_conversation, row.is_long_conversation),
            (short, long),
            "{count}"
        );
    }
}

#[test]
fn a_bot_resolves_without_a_user_s_public_message() {
    for (status, messages, by_bot) in [
        (1, vec![], true),
        (1, vec![from_contact(1), note(2)], true),
        (1, vec![from_contact(1), message(2)], false),
        (0, vec![from_contact(1)], false),
    ] {
        assert_eq!(
            columns_with_status(status, &messages).unwrap().is_bot_resolved,
            by_bot
        );
    }
}

#[test]
fn a_bad_message_refuses_the_row() {
    let nul = SourceMessage {
        content: Some("a\0"),
        ..message(2)
    };
    let invalid = SourceMessage {
        sentiment: Some("{"),
        ..message(2)
    };
    for (messages, error) in [
        (vec![message(2), message(1)], TransformError::MessageOrder),
        (vec![message(1), message(1)], TransformError::MessageOrder),
        (
            vec![message(1), nul, message(3)],
            TransformError::NulCharacter {
                column: "message_compiled",
            },
        ),
        (
            vec![message(1), invalid],
            TransformError::InvalidJson {
                column: "message_compiled",
            },
        ),
    ] {
        assert_eq!(columns_with_status(0, &messages), Err(error));
    }
}

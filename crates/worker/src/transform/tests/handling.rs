use super::messages::{from_contact, message, note};
use super::*;
use crate::row::columns::Handling;

fn handled<'a>(source: &'a SourceConversation, messages: &[SourceMessage<'_>]) -> Handling<'a> {
    let tenant = TenantContext {
        tenant_id: 7,
        timezone: chrono_tz::UTC,
        privacy: Arc::default(),
    };
    let mut fold = MessageFold::new();
    for message in messages {
        fold.push(message);
    }
    transform(&tenant, source, fold, None).unwrap().handling
}

fn from(sender_type: &'static str, id: i64) -> SourceMessage<'static> {
    SourceMessage {
        sender_type: Some(sender_type),
        ..message(id)
    }
}

fn automatic(id: i64) -> SourceMessage<'static> {
    SourceMessage {
        marks: MessageMarks {
            is_automation: true,
            ..MessageMarks::default()
        },
        ..message(id)
    }
}

fn echo(id: i64) -> SourceMessage<'static> {
    SourceMessage {
        sender_type: None,
        sender_id: None,
        marks: MessageMarks {
            is_external_echo: true,
            ..MessageMarks::default()
        },
        ..message(id)
    }
}

fn deleted(message: SourceMessage<'static>) -> SourceMessage<'static> {
    SourceMessage {
        marks: MessageMarks {
            is_deleted: true,
            ..message.marks
        },
        ..message
    }
}

#[test]
fn an_agent_answers_in_chatwoot_or_in_the_channels_own_app() {
    let open = conversation();
    let messages = [message(1), echo(2), automatic(3), note(4), from("AgentBot", 5)];
    let handling = handled(&open, &messages);
    assert_eq!(handling.agent_messages_count, 2);
    assert_eq!(handling.automation_messages_count, 1);
    assert_eq!(handling.bot_messages_count, 1);
}

#[test]
fn a_conversation_is_handled_by_those_who_wrote_publicly() {
    let open = conversation();
    let mut assigned_to_bot = conversation();
    assigned_to_bot.details.assignee_agent_bot_id = Some(3);
    for (source, messages, by) in [
        (&open, vec![from_contact(1)], "nobody"),
        (&open, vec![from_contact(1), note(2)], "nobody"),
        (&open, vec![automatic(1)], "nobody"),
        (&open, vec![message(1)], "human"),
        (&open, vec![echo(1)], "human"),
        (&open, vec![from("AgentBot", 1)], "bot"),
        (&open, vec![from("Captain::Assistant", 1)], "bot"),
        (&open, vec![from("Captain::Assistant", 1), message(2)], "mixed"),
        (&assigned_to_bot, vec![from_contact(1)], "bot"),
        (&assigned_to_bot, vec![message(1)], "human"),
    ] {
        assert_eq!(handled(source, &messages).handled_by, by, "{messages:?}");
    }
}

#[test]
fn a_customer_awaits_a_reply_until_somebody_writes_or_it_is_resolved() {
    let mut pending = conversation();
    pending.status = Some(2);
    let mut resolved = conversation();
    resolved.status = Some(1);
    let activity = SourceMessage {
        sender_type: None,
        message_type: Some(2),
        ..message(9)
    };
    let asked = SourceMessage {
        message_type: Some(0),
        ..from_contact(3)
    };
    for (source, messages, awaiting) in [
        (&pending, vec![message(1), asked], true),
        (&pending, vec![asked, note(8), activity], true),
        (&pending, vec![asked, message(8)], false),
        (&pending, vec![asked, from("AgentBot", 8)], false),
        (&pending, vec![], false),
        (&resolved, vec![asked], false),
    ] {
        assert_eq!(
            handled(source, &messages).is_awaiting_reply,
            awaiting,
            "{messages:?}"
        );
    }
}

#[test]
fn texts_of_customer_and_agent_skip_deleted_messages() {
    let said = |id, text| SourceMessage {
        content: Some(text),
        ..from_contact(id)
    };
    let replied = |id, text| SourceMessage {
        content: Some(text),
        ..message(id)
    };
    let open = conversation();
    let handling = handled(
        &open,
        &[
            deleted(said(1, "a")),
            said(2, "b"),
            said(3, "c"),
            deleted(said(4, "d")),
            replied(5, "e"),
            deleted(replied(6, "f")),
        ],
    );
    assert_eq!(handling.first_customer_text.as_deref(), Some("b"));
    assert_eq!(handling.last_customer_text.as_deref(), Some("c"));
    assert_eq!(handling.last_agent_text.as_deref(), Some("e"));
    assert_eq!(handling.deleted_messages_count, 3);
}

#[test]
fn kinds_of_messages_are_counted_private_ones_too() {
    let kind = |id, message_type, content_type, status| SourceMessage {
        message_type: Some(message_type),
        content_type: Some(content_type),
        status: Some(status),
        ..note(id)
    };
    let open = conversation();
    let handling = handled(
        &open,
        &[
            kind(1, 2, 0, 0),
            kind(2, 3, 9, 0),
            kind(3, 3, 0, 3),
            kind(4, 1, 0, 1),
        ],
    );
    assert_eq!(
        (handling.activity_messages_count, handling.template_messages_count),
        (1, 2)
    );
    assert_eq!(
        (handling.csat_requests_count, handling.failed_messages_count),
        (1, 1)
    );
}

#[test]
fn marks_are_read_from_an_object_and_from_a_string_that_contains_one() {
    let all = MessageMarks {
        is_deleted: true,
        is_external_echo: true,
        is_automation: true,
    };
    for (attributes, marks) in [
        (None, MessageMarks::default()),
        (Some("{}"), MessageMarks::default()),
        (Some("null"), MessageMarks::default()),
        (Some("[1]"), MessageMarks::default()),
        (
            Some(r#"{"deleted": false, "automation_rule_id": null}"#),
            MessageMarks::default(),
        ),
        (
            Some(r#"{"deleted": true, "external_echo": true, "automation_rule_id": 4, "x": {}}"#),
            all,
        ),
        (
            Some(r#""{\"deleted\": true, \"external_echo\": true, \"automation_rule_id\": 4}""#),
            all,
        ),
    ] {
        assert_eq!(MessageMarks::parse(attributes), marks, "{attributes:?}");
    }
}

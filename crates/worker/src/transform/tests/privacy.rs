use proptest::prelude::*;
use secrecy::SecretString;
use tidemark_shared::privacy::PrivacyPolicy;

use super::any::{AnySource, any_source};
use super::*;
use crate::transform::privacy::{HASH_LENGTH, MissingKey};

fn rules(tenant_id: i32, change: &str, forgotten: &[i64], secret: &str) -> Arc<Privacy> {
    let policy = PrivacyPolicy::default().with(&change.parse().unwrap());
    let secret = SecretString::from(secret);
    let forgotten = forgotten.iter().copied();
    Arc::new(Privacy::new(tenant_id, policy, forgotten, Some(&secret)).unwrap())
}

fn person() -> SourceConversation {
    SourceConversation {
        contact_id: Some(5),
        contact_name: Some("Ana".to_owned()),
        contact_email: Some("ana@example.com".to_owned()),
        contact_phone: None,
        contact_identifier: Some("crm-5".to_owned()),
        csat: Some(SourceCsat {
            id: Some(1),
            rating: Some(5),
            feedback: Some("obrigada".to_owned()),
            created_at: None,
            assigned_agent_id: None,
            assigned_agent_name: None,
        }),
        ..conversation()
    }
}

fn said(id: i64, sender_id: i64, content: &str) -> SourceMessage<'_> {
    SourceMessage {
        id,
        content: Some(content),
        sender_type: Some("Contact"),
        sender_id: Some(sender_id),
        created_at: at("2024-03-15T12:00:00"),
        message_type: Some(0),
        content_type: Some(0),
        status: Some(0),
        private: false,
        sentiment: None,
        source_id: None,
        marks: MessageMarks::default(),
    }
}

fn row<'a>(
    privacy: &Arc<Privacy>,
    source: &'a SourceConversation,
    messages: &[SourceMessage<'_>],
    client_phone: Option<&'a str>,
) -> TargetRow<'a> {
    let tenant = TenantContext {
        tenant_id: 7,
        timezone: chrono_tz::UTC,
        privacy: Arc::clone(privacy),
    };
    let mut fold = MessageFold::with_privacy(privacy);
    for message in messages {
        fold.push(message);
    }
    transform(&tenant, source, fold, client_phone).unwrap()
}

const SECRET: &str = "a secret of at least 32 characters";

#[test]
fn equal_values_have_equal_hashes_but_not_across_tenants_keys_and_columns() {
    let source = person();
    let hashed = |tenant_id, secret| {
        row(
            &rules(tenant_id, "all=hash", &[], secret),
            &source,
            &[],
            Some("+551"),
        )
        .contact
    };
    let one = hashed(1, SECRET);
    assert_eq!(one, hashed(1, SECRET));
    let texts: Vec<String> = [
        &one,
        &hashed(2, SECRET),
        &hashed(1, "another secret of 32 characters, or more"),
    ]
    .into_iter()
    .flat_map(|contact| {
        [
            &contact.contact_name,
            &contact.contact_email,
            &contact.contact_identifier,
            &contact.client_phone,
        ]
    })
    .map(|text| text.clone().unwrap().into_owned())
    .collect();
    let mut distinct = texts.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), texts.len());
    for text in texts {
        assert_eq!(text.len(), HASH_LENGTH);
        assert!(text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
    }
    // computed with another implementation of HMAC
    assert_eq!(
        one.contact_email.as_deref(),
        Some("6144285bceb5ef9e736de72dcced6cf2")
    );
    // the client's number is used for the contact, with the same hash
    assert_eq!(one.contact_phone, one.client_phone);
}

#[test]
fn texts_that_are_not_stored_do_not_change_counts_and_lengths() {
    let source = person();
    let messages = [said(1, 5, "olá"), said(2, 9, "bom dia")];
    let kept = row(&Arc::default(), &source, &messages, Some("+551"));
    let nothing = row(
        &rules(7, "all=null", &[], SECRET),
        &source,
        &messages,
        Some("+551"),
    );
    let contact = &nothing.contact;
    for text in [
        &contact.contact_name,
        &contact.contact_email,
        &contact.contact_identifier,
        &contact.contact_phone,
        &contact.client_phone,
        &nothing.satisfaction.csat_feedback,
    ] {
        assert_eq!(*text, None);
    }
    assert_eq!((contact.contact_id, contact.client_sender_id), (Some(5), Some(5)));
    assert!(nothing.satisfaction.has_written_feedback && nothing.status.has_contact);
    let compiled = nothing.messages.message_compiled.clone().unwrap().0;
    assert!(
        compiled.contains(r#""text":null"#) && !compiled.contains("dia"),
        "{compiled}"
    );
    assert_eq!(
        (
            nothing.messages.first_message_text.clone(),
            nothing.messages.last_message_text.clone()
        ),
        (None, None)
    );
    let without_texts = crate::row::columns::Messages {
        message_compiled: kept.messages.message_compiled.clone(),
        first_message_text: kept.messages.first_message_text.clone(),
        last_message_text: kept.messages.last_message_text.clone(),
        ..nothing.messages
    };
    assert_eq!(without_texts, kept.messages);
    assert_eq!(
        (kept.messages.avg_message_length, kept.messages.max_message_length),
        (Some(5), Some(7))
    );
}

#[test]
fn a_client_s_phone_used_for_the_contact_gets_the_stricter_treatment() {
    let source = person();
    let phones = |change| {
        let row = row(&rules(7, change, &[], SECRET), &source, &[], Some("+551"));
        (
            row.contact.contact_phone.map(|text| text.len()),
            row.contact.client_phone.map(|text| text.len()),
        )
    };
    assert_eq!(phones("client_phone=null"), (None, None));
    assert_eq!(
        phones("client_phone=hash"),
        (Some(HASH_LENGTH), Some(HASH_LENGTH))
    );
    assert_eq!(phones("contact_phone=null"), (None, Some(4)));
    let own = SourceConversation {
        contact_phone: Some("+559".to_owned()),
        ..person()
    };
    let row = row(
        &rules(7, "client_phone=null", &[], SECRET),
        &own,
        &[],
        Some("+551"),
    );
    assert_eq!(row.contact.contact_phone.as_deref(), Some("+559"));
}

#[test]
fn a_forgotten_contact_leaves_no_text_and_no_number_in_conversations_of_others() {
    let source = person();
    let messages = [said(1, 9, "sou o outro"), said(2, 5, "olá"), said(3, 9, "tchau")];
    let user = SourceMessage {
        sender_type: Some("User"),
        ..said(4, 9, "um agente")
    };
    let messages = [&messages[..], &[user]].concat();
    let forgotten = rules(7, "all=keep", &[9], SECRET);
    let row = row(&forgotten, &source, &messages, Some("+551"));
    let compiled = row.messages.message_compiled.unwrap().0;
    assert!(
        !compiled.contains("outro") && !compiled.contains("tchau"),
        "{compiled}"
    );
    assert!(
        compiled.contains("olá") && compiled.contains("um agente"),
        "{compiled}"
    );
    assert_eq!(row.messages.first_message_text, None);
    assert_eq!(row.messages.last_message_text.as_deref(), Some("um agente"));
    assert_eq!(row.messages.contact_messages_count, 3);
    assert_eq!(
        (row.contact.client_phone, row.contact.contact_phone),
        (None, None)
    );
    assert_eq!(row.contact.contact_name.as_deref(), Some("Ana"));
    assert_eq!(forgotten.forgotten(Some(9)), Some(9));
    assert_eq!(
        (forgotten.forgotten(Some(5)), forgotten.forgotten(None)),
        (None, None)
    );
}

#[test]
fn without_a_key_a_policy_that_hashes_is_an_error() {
    let policy = PrivacyPolicy::default().with(&"contact_name=hash".parse().unwrap());
    assert_eq!(Privacy::new(7, policy, [], None).err(), Some(MissingKey));
    let policy = PrivacyPolicy::default().with(&"contact_name=null".parse().unwrap());
    assert!(Privacy::new(7, policy, [], None).is_ok());
    let shown = format!("{:?}", rules(7, "all=hash", &[], SECRET));
    assert!(!shown.contains("secret"), "{shown}");
}

proptest! {
    #[test]
    fn no_personal_text_passes_a_policy_that_does_not_keep_it(mut source in any_source(), hash: bool) {
        const MARK: &str = "hunter2@example.com";
        mark(&mut source, MARK);
        let change = if hash { "all=hash" } else { "all=null" };
        let privacy = rules(source.tenant.tenant_id, change, &[], SECRET);
        source.tenant.privacy = privacy;
        let row = source.transform().unwrap();
        let shown = format!("{row:?}");
        prop_assert!(!shown.contains(MARK));
    }
}

fn mark(source: &mut AnySource, text: &str) {
    let conversation = &mut source.conversation;
    for field in [
        &mut conversation.contact_name,
        &mut conversation.contact_email,
        &mut conversation.contact_phone,
        &mut conversation.contact_identifier,
        &mut source.client_phone,
    ] {
        *field = Some(text.to_owned());
    }
    if let Some(csat) = &mut conversation.csat {
        csat.feedback = Some(text.to_owned());
    }
    for message in &mut source.messages {
        message.say(text);
    }
}

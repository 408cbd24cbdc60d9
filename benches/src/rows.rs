//! Conversations like those of the sample, always the same, for benchmarks without a server.

use std::sync::Arc;

use chrono_tz::Tz;
use tidemark_postgres::source_time::SourceTime;
use tidemark_worker::row::encode::{CopyEncoder, Digests};
use tidemark_worker::row::source::{MessageMarks, SourceConversation, SourceDetails, SourceMessage};
use tidemark_worker::transform::fold::MessageFold;
use tidemark_worker::transform::{TenantContext, transform};
use uuid::Uuid;

const WORDS: [&str; 8] = [
    "Olá, tudo bem? Meu pedido ainda não chegou.",
    "Bom dia! Vou verificar e já retorno.",
    "Obrigado 🙂",
    "O prazo de entrega é de cinco dias úteis.\nPosso ajudar em algo mais?",
    "ok",
    "Segue o comprovante: https://exemplo.test/comprovante/12345?x=1&y=\"2\"",
    "Conversa foi marcada como resolvida por Ana",
    "Quero falar com um atendente, por favor, porque o link que vocês mandaram não abre no meu celular.",
];

/// Reporting events, in the source's spelling.
const EVENTS: &str = r#"[{"event_id": 11, "name": "first_response", "value": 61.0, "value_in_business_hours": 61.0, "user_id": 5, "inbox_id": 3, "started_at": "2024-01-01T00:16:17.000123", "ended_at": "2024-01-01T00:17:18.000246", "created_at": "2024-01-01T00:17:18.001"}, {"event_id": 12, "name": "reply_time", "value": 122.0, "value_in_business_hours": 122.0, "user_id": 5, "inbox_id": 3, "started_at": "2024-01-01T00:18:17.000123", "ended_at": "2024-01-01T00:20:19.000246", "created_at": "2024-01-01T00:20:19.001"}, {"event_id": 13, "name": "conversation_resolved", "value": 7200.5, "value_in_business_hours": 3600.0, "user_id": 5, "inbox_id": 3, "started_at": "2024-01-01T00:16:17.000123", "ended_at": "2024-01-01T02:16:17.000123", "created_at": "2024-01-01T02:16:17.5"}]"#;

/// A conversation with its messages.
pub struct Sample {
    pub conversation: SourceConversation,
    messages: Vec<Message>,
}

struct Message {
    id: i64,
    content: &'static str,
    sender_type: &'static str,
    created_at: SourceTime,
    private: bool,
}

impl Message {
    fn borrowed(&self) -> SourceMessage<'_> {
        SourceMessage {
            id: self.id,
            content: Some(self.content),
            sender_type: Some(self.sender_type),
            sender_id: Some(7),
            created_at: self.created_at,
            message_type: Some(i32::from(self.sender_type == "User")),
            content_type: Some(0),
            status: Some(0),
            private: self.private,
            sentiment: None,
            source_id: None,
            marks: MessageMarks::default(),
        }
    }
}

impl Sample {
    /// Transforms the conversation and appends its row.
    ///
    /// # Panics
    /// Never: the row is one that the target takes.
    pub fn encode(&self, tenant: &TenantContext, encoder: &mut CopyEncoder) {
        let row = transform(tenant, &self.conversation, self.fold(), Some("+5511999990000"));
        let digests = Digests {
            source: 42,
            related: 43,
            contact: Some(44),
        };
        encoder.push(&row.expect("the sample's rows are valid"), digests);
    }

    /// Folds the messages.
    #[must_use]
    pub fn fold(&self) -> MessageFold {
        let mut fold = MessageFold::new();
        for message in &self.messages {
            fold.push(&message.borrowed());
        }
        fold
    }
}

#[must_use]
pub fn tenant() -> TenantContext {
    TenantContext {
        tenant_id: 1,
        timezone: Tz::America__Sao_Paulo,
        privacy: Arc::default(),
    }
}

/// `count` conversations with 1 to 15 messages, eight on average.
#[must_use]
pub fn samples(count: usize) -> Vec<Sample> {
    (0..count).map(sample).collect()
}

fn sample(index: usize) -> Sample {
    let id = i64::try_from(index).expect("few samples") + 1;
    // 2024-01-01, and each conversation a little later
    let created_at = 757_382_400_000_000 + id * 977_000_000;
    let time = |seconds: i64| {
        SourceTime::from_micros(created_at + seconds * 1_000_123).expect("a time of this century")
    };
    let count = i64::try_from(index * 7 % 15).expect("a small number") + 1;
    let messages = (0..count).map(|number| Message {
        id: id * 100 + number,
        content: WORDS[usize::try_from(id + number).expect("positive") % WORDS.len()],
        sender_type: if number % 2 == 0 { "Contact" } else { "User" },
        created_at: time(number * 61),
        private: number % 9 == 8,
    });
    Sample {
        messages: messages.collect(),
        conversation: SourceConversation {
            id,
            display_id: i32::try_from(id).ok(),
            uuid: Some(Uuid::from_u128(
                0x1234_5678_9abc_4def_8123_4567_89ab_0000 + index as u128,
            )),
            account_id: Some(1),
            account_name: Some("Padaria Sol Nascente".to_owned()),
            inbox_id: 3,
            inbox_name: Some("WhatsApp vendas".to_owned()),
            inbox_channel_type: Some("Channel::Whatsapp".to_owned()),
            inbox_timezone: Some("America/Sao_Paulo".to_owned()),
            campaign_id: None,
            cached_label_list: Some("vip, lead".to_owned()),
            custom_attributes: Some(r#"{"origem": "site", "valor": 12.5}"#.to_owned()),
            status: i32::try_from(index % 4).ok(),
            priority: None,
            snoozed_until: None,
            assignee_id: Some(5),
            assignee_name: Some("Ana Souza".to_owned()),
            assignee_email: Some("ana@exemplo.test".to_owned()),
            team_id: Some(2),
            team_name: Some("vendas".to_owned()),
            contact_id: Some(7),
            contact_name: Some("João da Silva".to_owned()),
            contact_email: Some("joao@exemplo.test".to_owned()),
            contact_phone: Some("+5511999990000".to_owned()),
            contact_identifier: None,
            created_at: time(0),
            updated_at: time(7_200),
            last_activity_at: Some(time(7_200)),
            first_reply_created_at: Some(time(61)),
            waiting_since: None,
            contact_last_seen_at: Some(time(3_600)),
            agent_last_seen_at: Some(time(7_000)),
            csat: None,
            csat_responses_count: 0,
            details: SourceDetails {
                events: Some(EVENTS.to_owned()),
                ..SourceDetails::default()
            },
        },
    }
}

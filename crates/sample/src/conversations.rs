//! Generates conversations in the order of their ids, with messages and survey responses.

use chrono::{NaiveDateTime, TimeDelta};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::conversation::{
    CONVERSATIONS, Conversation, OPEN, PENDING, RESOLVED, RESPONSES, Response, SNOOZED,
};
use crate::copy::Rows;
use crate::inboxes::Inbox;
use crate::layout::{Layout, Tenant};
use crate::marks::mark;
use crate::messages::{self, INCOMING, MESSAGES, Message, MessageContext};
use crate::related::{Related, RelatedRows};
use crate::slas;
use crate::text::{language, pick};
use crate::timeline::Timeline;
use crate::words::FEEDBACK;

/// Age of the oldest data.
const HISTORY: TimeDelta = TimeDelta::days(400);
/// Size at which a block is sent on: large enough for few COPY statements, small enough for little memory.
pub const BLOCK_BYTES: usize = 2 * 1024 * 1024;

/// Each oddity occurs once in this many conversations. Ids decide, so that the smallest sample has every oddity. The numbers
/// are primes, so that all combinations occur.
mod once_in {
    pub const OTHER_WRITER: i32 = 37;
    pub const TWO_RESPONSES: i32 = 43;
    pub const NO_CONTACT: i32 = 47;
    pub const NO_MESSAGE: i32 = 61;
    pub const REPLY_BEFORE_START: i32 = 71;
    pub const BACKDATED_MESSAGE: i32 = 83;
    pub const DEPARTED_AGENT: i32 = 103;
    pub const DOCUMENT: i32 = 293;
    pub const HUNDREDS_OF_MESSAGES: i32 = 997;
    pub const THOUSANDS_OF_MESSAGES: i32 = 19_997;
}

/// Numbers of generated rows, which are also the last ids given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub conversations: i32,
    pub messages: i32,
    pub responses: i32,
}

pub struct Conversations<'a> {
    layout: &'a Layout,
    /// In the order of their ids, which begin with 1.
    inboxes: &'a [Inbox],
    rng: ChaCha8Rng,
    related: Related,
    counts: Counts,
    /// The last `display_id` of each tenant.
    display_ids: Vec<i32>,
}

impl<'a> Conversations<'a> {
    pub fn new(layout: &'a Layout, inboxes: &'a [Inbox], rng: ChaCha8Rng) -> Self {
        Self {
            layout,
            inboxes,
            related: Related::new(rng.clone()),
            rng,
            counts: Counts::default(),
            display_ids: vec![0; layout.tenants.len()],
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The rows of the next conversations; `None` after the last.
    pub fn next_block(&mut self) -> Option<Vec<Rows>> {
        if self.counts.conversations == self.layout.conversations {
            return None;
        }
        let mut block = [&CONVERSATIONS, &MESSAGES, &RESPONSES].map(Rows::new);
        let mut related = RelatedRows::new();
        while self.counts.conversations < self.layout.conversations
            && block.iter().map(Rows::size).sum::<usize>() < BLOCK_BYTES
        {
            self.push_next(&mut block, &mut related);
        }
        Some(block.into_iter().chain(related.into_rows()).collect())
    }

    fn push_next(&mut self, [conversations, messages, responses]: &mut [Rows; 3], related: &mut RelatedRows) {
        self.counts.conversations += 1;
        let id = self.counts.conversations;
        let index = self.layout.tenant_of(id, &mut self.rng);
        let tenant = &self.layout.tenants[index];
        self.display_ids[index] += 1;

        let contact = self.rng.random_range(tenant.contact_ids.clone());
        let context = MessageContext {
            conversation_id: id,
            tenant,
            inbox_id: tenant.inbox_of(contact),
            writer_id: match id {
                _ if id % once_in::OTHER_WRITER == 0 => Some(another_contact(contact, tenant)),
                _ if id % once_in::NO_CONTACT == 0 => None,
                _ => Some(contact),
            },
            language: language(&mut self.rng),
        };
        let contact_id = (id % once_in::NO_CONTACT != 0).then_some(contact);
        let inbox = &self.inboxes[usize::try_from(context.inbox_id - 1).expect("inboxes count from 1")];
        let conversation = self.conversation(&context, inbox, contact_id);

        conversation.push(
            conversations,
            &context,
            self.display_ids[index],
            self.layout.reference,
            &mut self.rng,
        );
        for message in &conversation.messages {
            message.push(messages, &context);
        }
        for response in &conversation.responses {
            self.counts.responses += 1;
            response.push(responses, self.counts.responses, &context, &conversation);
        }
        self.related.push(related, &context, inbox, &conversation);
    }

    fn conversation(
        &mut self,
        context: &MessageContext<'_>,
        inbox: &Inbox,
        contact_id: Option<i32>,
    ) -> Conversation {
        let id = context.conversation_id;
        let mut timeline = self.timeline(id);
        let created_at = timeline.now();
        let status = match self.rng.random_range(0..100) {
            0..68 => RESOLVED,
            68..86 => OPEN,
            86..94 => PENDING,
            _ => SNOOZED,
        };

        let count = self.message_count(id);
        let first_id = self.counts.messages + 1;
        let mut messages = messages::generate(context, first_id, count, &mut timeline, &mut self.rng);
        self.add_oddities(context, &mut messages);
        let responses = self.survey(id, status, contact_id, &mut messages, &mut timeline);
        mark(&mut messages, inbox, status, self.layout, &mut self.related.rng);
        self.counts.messages += i32::try_from(messages.len()).expect("a conversation has few messages");

        // a survey response is not a message, and does not count as activity
        let last_activity_at = messages
            .iter()
            .map(|message| message.created_at)
            .fold(created_at, NaiveDateTime::max);
        let waiting = status != RESOLVED && messages.last().is_some_and(|last| last.message_type == INCOMING);
        Conversation {
            assignee_id: match id % once_in::DEPARTED_AGENT {
                0 => Some(context.tenant.departed_agent()),
                _ => self
                    .rng
                    .random_ratio(3, 4)
                    .then(|| self.rng.random_range(context.tenant.agent_ids.clone())),
            },
            status,
            created_at,
            updated_at: match self.import(id) {
                Some(at) => at,
                None => match self.rng.random_range(0..20) {
                    // later statements left updated_at alone
                    0 => created_at,
                    1..12 => last_activity_at,
                    _ => timeline.advance(&mut self.rng, TimeDelta::days(2)),
                },
            },
            last_activity_at,
            first_reply_created_at: match id % once_in::REPLY_BEFORE_START {
                0 => Some(created_at - TimeDelta::seconds(30)),
                _ => messages
                    .iter()
                    .find(|message| message.is_human_response() && !message.private)
                    .map(|reply| reply.created_at),
            },
            waiting_since: waiting.then_some(last_activity_at),
            contact_id,
            sla_policy_id: slas::policy_of(id, context.tenant),
            messages,
            responses,
        }
    }

    /// The start times of conversations are spread evenly over the history.
    fn timeline(&mut self, id: i32) -> Timeline {
        if let Some(import) = self.import(id) {
            let start = import - TimeDelta::minutes(self.rng.random_range(1_440..300_000));
            return Timeline::new(start, import, true);
        }
        let jitter = TimeDelta::microseconds(self.rng.random_range(0..=self.slot_micros()));
        let whole_seconds = self.rng.random_ratio(1, 3);
        Timeline::new(self.slot(id) + jitter, self.layout.reference, whole_seconds)
    }

    /// The time at which a group of neighbouring conversations was imported. All of them have it as `updated_at`.
    fn import(&self, id: i32) -> Option<NaiveDateTime> {
        const EVERY: i32 = 2_000;
        const FIRST: i32 = 100;
        let size = (self.layout.conversations / 10).min(250);
        let place = id % EVERY;
        (FIRST..FIRST + size)
            .contains(&place)
            .then(|| Timeline::new(self.slot(id - place + FIRST), self.layout.reference, true).now())
    }

    fn slot_micros(&self) -> i64 {
        HISTORY.num_microseconds().unwrap_or(i64::MAX) / i64::from(self.layout.conversations)
    }

    fn slot(&self, id: i32) -> NaiveDateTime {
        self.layout.reference - HISTORY + TimeDelta::microseconds(self.slot_micros() * i64::from(id - 1))
    }

    /// Usually 1 to 40, rarely hundreds or thousands; eight on average.
    fn message_count(&mut self, id: i32) -> i32 {
        match id {
            _ if id % once_in::NO_MESSAGE == 0 => 0,
            _ if id % once_in::THOUSANDS_OF_MESSAGES == 0 => self.rng.random_range(2_000..5_000),
            _ if id % once_in::HUNDREDS_OF_MESSAGES == 0 => self.rng.random_range(200..1_000),
            _ => {
                let mut count = 1;
                while count < 40 && self.rng.random_ratio(13, 15) {
                    count += 1;
                }
                count
            }
        }
    }

    fn add_oddities(&mut self, context: &MessageContext<'_>, messages: &mut [Message]) {
        let id = context.conversation_id;
        if id % once_in::DOCUMENT == 0 {
            messages::paste_document(context, messages, &mut self.rng);
        }
        if id % once_in::BACKDATED_MESSAGE == 0
            && let Some(last) = messages.last_mut()
        {
            last.created_at -= TimeDelta::days(3);
        }
    }

    /// Asks for a rating at the end, rarely twice. Each question is answered.
    fn survey(
        &mut self,
        id: i32,
        status: i32,
        contact_id: Option<i32>,
        messages: &mut Vec<Message>,
        timeline: &mut Timeline,
    ) -> Vec<Response> {
        let surveys = match id {
            _ if contact_id.is_none() || messages.is_empty() => 0,
            _ if id % once_in::TWO_RESPONSES == 0 => 2,
            _ if status == RESOLVED && self.rng.random_ratio(1, 4) => 1,
            _ => 0,
        };
        (0..surveys)
            .map(|_| {
                let message_id = messages.last().map_or(0, |last| last.id) + 1;
                let asked_at = timeline.advance(&mut self.rng, TimeDelta::hours(1));
                messages.push(messages::survey(message_id, asked_at));
                Response {
                    message_id,
                    rating: pick(&mut self.rng, &[1, 2, 3, 4, 4, 5, 5, 5, 5]),
                    feedback: pick(&mut self.rng, FEEDBACK),
                    created_at: timeline.advance(&mut self.rng, TimeDelta::hours(20)),
                }
            })
            .collect()
    }
}

/// The next contact of the tenant. Every tenant has at least three.
fn another_contact(contact_id: i32, tenant: &Tenant) -> i32 {
    let next = contact_id + 1;
    if tenant.contact_ids.contains(&next) {
        next
    } else {
        tenant.contact_ids.start
    }
}

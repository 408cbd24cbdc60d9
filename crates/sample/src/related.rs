//! Rows that go with a conversation: reporting events, attachments, participants and SLAs.

use rand_chacha::ChaCha8Rng;

use crate::attachments::{self, ATTACHMENTS};
use crate::conversation::Conversation;
use crate::copy::Rows;
use crate::events::{self, EVENTS};
use crate::inboxes::Inbox;
use crate::messages::MessageContext;
use crate::participants::{self, PARTICIPANTS};
use crate::slas::{self, APPLIED_SLAS, SLA_EVENTS};

/// Gives these rows their ids.
pub struct Related {
    /// A stream of its own, so that these rows do not change the draws of the others.
    pub rng: ChaCha8Rng,
    events: i64,
    attachments: i32,
    participants: i64,
}

pub struct RelatedRows {
    events: Rows,
    attachments: Rows,
    participants: Rows,
    applied_slas: Rows,
    sla_events: Rows,
}

impl Related {
    pub fn new(mut rng: ChaCha8Rng) -> Self {
        rng.set_stream(1);
        Self {
            rng,
            events: 0,
            attachments: 0,
            participants: 0,
        }
    }

    pub fn push(
        &mut self,
        rows: &mut RelatedRows,
        context: &MessageContext<'_>,
        inbox: &Inbox,
        conversation: &Conversation,
    ) {
        for event in events::of(conversation, context, inbox, &mut self.rng) {
            self.events += 1;
            event.push(&mut rows.events, self.events, context);
        }
        for message in &conversation.messages {
            for _ in 0..attachments::count(message, &mut self.rng) {
                self.attachments += 1;
                attachments::push(
                    &mut rows.attachments,
                    self.attachments,
                    message,
                    context,
                    &mut self.rng,
                );
            }
        }
        for agent in participants::choose(context, &mut self.rng) {
            self.participants += 1;
            let at = conversation.created_at;
            participants::push(&mut rows.participants, self.participants, agent, context, at);
        }
        slas::push(
            &mut rows.applied_slas,
            &mut rows.sla_events,
            context,
            conversation,
        );
    }
}

impl RelatedRows {
    pub fn new() -> Self {
        Self {
            events: Rows::new(&EVENTS),
            attachments: Rows::new(&ATTACHMENTS),
            participants: Rows::new(&PARTICIPANTS),
            applied_slas: Rows::new(&APPLIED_SLAS),
            sla_events: Rows::new(&SLA_EVENTS),
        }
    }

    pub fn into_rows(self) -> [Rows; 5] {
        [
            self.events,
            self.attachments,
            self.participants,
            self.applied_slas,
            self.sla_events,
        ]
    }
}

//! The tenants of a sample, their sizes and their ids.

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use chrono::NaiveDateTime;
use rand::distr::weighted::WeightedIndex;
use rand::{Rng, RngExt};

use crate::words::{BUSINESS_NAMES, BUSINESSES};

/// Chatwoot numbers messages with a 32-bit sequence, and a conversation has about eight messages.
const MAX_CONVERSATIONS: u64 = 100_000_000;

/// A tenant is an account. Each kind of its rows has a separate range of ids.
#[derive(Debug)]
pub struct Tenant {
    pub account_id: i32,
    pub name: String,
    pub inbox_ids: Range<i32>,
    pub agent_ids: Range<i32>,
    pub team_ids: Range<i32>,
    pub contact_ids: Range<i32>,
}

impl Tenant {
    /// The only inbox that a contact writes to, so its `contact_inboxes` row has the contact's id.
    pub fn inbox_of(&self, contact_id: i32) -> i32 {
        let count = self.inbox_ids.end - self.inbox_ids.start;
        self.inbox_ids.start + contact_id % count
    }

    /// An agent without a user row, to whom some conversations are still assigned.
    pub fn departed_agent(&self) -> i32 {
        self.agent_ids.end
    }

    /// The account's only agent bot.
    pub fn agent_bot(&self) -> i32 {
        self.account_id
    }

    /// The account's only Captain assistant.
    pub fn assistant(&self) -> i32 {
        self.account_id
    }

    pub const CAMPAIGNS: i32 = 20;

    pub fn campaign_ids(&self) -> Range<i32> {
        nth_range(self.account_id, Self::CAMPAIGNS)
    }

    pub const SLA_POLICIES: i32 = 3;

    pub fn sla_policy_ids(&self) -> Range<i32> {
        nth_range(self.account_id, Self::SLA_POLICIES)
    }
}

#[derive(Debug)]
pub struct Layout {
    pub tenants: Vec<Tenant>,
    pub conversations: i32,
    /// The current time of the data. Only ends of snoozes are later.
    pub reference: NaiveDateTime,
    shares: WeightedIndex<u32>,
}

impl Layout {
    pub fn new(
        tenants: u16,
        conversations: u64,
        reference: NaiveDateTime,
        rng: &mut impl Rng,
    ) -> Result<Self> {
        ensure!(tenants > 0, "a sample has at least one tenant");
        ensure!(
            conversations <= MAX_CONVERSATIONS,
            "a sample has at most {MAX_CONVERSATIONS} conversations"
        );
        let conversations = i32::try_from(conversations)?;

        // Zipf: the second tenant has half the size of the first, the third a third
        let weights: Vec<u32> = (1..=u32::from(tenants)).map(|rank| 1_000_000 / rank).collect();
        let shares = WeightedIndex::new(&weights).context("compute the tenants' sizes")?;
        let total: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
        let contacts = i64::from(conversations) * 3 / 5;

        let mut next = NextIds {
            account: 1,
            inbox: 1,
            agent: 1,
            team: 1,
            contact: 1,
        };
        let tenants = weights
            .iter()
            .map(|&weight| {
                let share = contacts * i64::from(weight) / total;
                Ok(next.tenant(i32::try_from(share)?.max(3), rng))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            tenants,
            conversations,
            reference,
            shares,
        })
    }

    /// The index of a conversation's tenant. The first conversations go to each tenant in turn, so that every tenant has one.
    pub fn tenant_of(&self, conversation_id: i32, rng: &mut impl Rng) -> usize {
        match usize::try_from(conversation_id - 1) {
            Ok(index) if index < self.tenants.len() => index,
            _ => rng.sample(&self.shares),
        }
    }
}

struct NextIds {
    account: i32,
    inbox: i32,
    agent: i32,
    team: i32,
    contact: i32,
}

impl NextIds {
    fn tenant(&mut self, contacts: i32, rng: &mut impl Rng) -> Tenant {
        let account_id = take(&mut self.account, 1).start;
        let agent_ids = take(&mut self.agent, rng.random_range(2..=12));
        take(&mut self.agent, 1); // the departed agent
        Tenant {
            account_id,
            name: business(account_id),
            inbox_ids: take(&mut self.inbox, rng.random_range(1..=5)),
            agent_ids,
            team_ids: take(&mut self.team, rng.random_range(0..=4)),
            contact_ids: take(&mut self.contact, contacts),
        }
    }
}

/// The ids of the nth account, where every account has equally many.
fn nth_range(nth: i32, count: i32) -> Range<i32> {
    let first = (nth - 1) * count + 1;
    first..first + count
}

fn take(next: &mut i32, count: i32) -> Range<i32> {
    let first = *next;
    *next += count;
    first..*next
}

/// Every account has a different name. Names get a number after all combinations are used.
fn business(account_id: i32) -> String {
    let index = usize::try_from(account_id - 1).expect("accounts count from 1");
    let kind = BUSINESSES[index % BUSINESSES.len()];
    let name = BUSINESS_NAMES[index % BUSINESS_NAMES.len()];
    match index / (BUSINESSES.len() * BUSINESS_NAMES.len()) {
        0 => format!("{kind} {name}"),
        round => format!("{kind} {name} {}", round + 1),
    }
}

//! What an account has beside people and inboxes: bots, assistants, campaigns and SLA policies.

use chrono::NaiveDateTime;

use crate::copy::{Rows, Table};
use crate::layout::Tenant;
use crate::words::{CAMPAIGNS, SLAS};

static AGENT_BOTS: Table = Table {
    name: "agent_bots",
    columns: "id, name, description, created_at, updated_at, account_id",
};
static ASSISTANTS: Table = Table {
    name: "captain_assistants",
    columns: "id, name, account_id, created_at, updated_at",
};
static CAMPAIGNS_TABLE: Table = Table {
    name: "campaigns",
    columns: "id, display_id, title, message, sender_id, account_id, inbox_id, created_at, updated_at",
};
static SLA_POLICIES: Table = Table {
    name: "sla_policies",
    columns: "id, name, first_response_time_threshold, next_response_time_threshold, \
              resolution_time_threshold, only_during_business_hours, account_id, created_at, updated_at",
};

pub struct AccountRows {
    agent_bots: Rows,
    assistants: Rows,
    campaigns: Rows,
    sla_policies: Rows,
}

impl AccountRows {
    pub fn new() -> Self {
        Self {
            agent_bots: Rows::new(&AGENT_BOTS),
            assistants: Rows::new(&ASSISTANTS),
            campaigns: Rows::new(&CAMPAIGNS_TABLE),
            sla_policies: Rows::new(&SLA_POLICIES),
        }
    }

    pub fn push(&mut self, tenant: &Tenant, at: NaiveDateTime) {
        let account = i64::from(tenant.account_id);
        let bot = match tenant.account_id % 3 {
            0 => "Robô 🤖 ".repeat(40),
            _ => format!("Robô {}", tenant.name),
        };
        let description: Option<&str> = None;
        self.agent_bots.push(&[
            &i64::from(tenant.agent_bot()),
            &bot,
            &description,
            &at,
            &at,
            &account,
        ]);
        let assistant = format!("Captain {}", tenant.name);
        self.assistants
            .push(&[&i64::from(tenant.assistant()), &assistant, &account, &at, &at]);
        // the last campaign was deleted, and its conversations still refer to it
        for (number, id) in (1..Tenant::CAMPAIGNS).zip(tenant.campaign_ids()) {
            let words = CAMPAIGNS[usize::try_from(number).expect("numbers are positive") % CAMPAIGNS.len()];
            let title = match number {
                7 => words.repeat(40),
                _ => format!("{words} {number}"),
            };
            self.campaigns.push(&[
                &i64::from(id),
                &number,
                &title,
                &words,
                &Some(tenant.agent_ids.start),
                &account,
                &i64::from(tenant.inbox_ids.start),
                &at,
                &at,
            ]);
        }
        for ((name, minutes), id) in SLAS.iter().zip(tenant.sla_policy_ids()) {
            let threshold = f64::from(minutes * 60);
            self.sla_policies.push(&[
                &i64::from(id),
                name,
                &threshold,
                &(threshold * 2.0),
                &(threshold * 24.0),
                &(minutes % 2 == 0),
                &account,
                &at,
                &at,
            ]);
        }
    }

    pub fn into_rows(self) -> [Rows; 4] {
        [
            self.agent_bots,
            self.assistants,
            self.campaigns,
            self.sla_policies,
        ]
    }
}

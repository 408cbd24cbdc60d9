//! Inboxes: their channels, working hours and bots.

use anyhow::{Context, Result};
use chrono::{NaiveDateTime, NaiveTime, Timelike};
use chrono_tz::Tz;
use rand::Rng;

use crate::copy::{Rows, Table};
use crate::hours::{Day, WorkingHours};
use crate::layout::Tenant;
use crate::text::pick;
use crate::words::{CHANNELS, TIMEZONES};

static INBOXES: Table = Table {
    name: "inboxes",
    columns: "id, channel_id, account_id, name, channel_type, timezone, created_at, updated_at, \
              working_hours_enabled, csat_survey_enabled",
};
static WORKING_HOURS: Table = Table {
    name: "working_hours",
    columns: "id, inbox_id, account_id, day_of_week, closed_all_day, open_hour, open_minutes, close_hour, \
              close_minutes, created_at, updated_at, open_all_day",
};
static AGENT_BOT_INBOXES: Table = Table {
    name: "agent_bot_inboxes",
    columns: "id, inbox_id, agent_bot_id, status, created_at, updated_at, account_id",
};
static CAPTAIN_INBOXES: Table = Table {
    name: "captain_inboxes",
    columns: "id, captain_assistant_id, inbox_id, created_at, updated_at",
};

/// Chatwoot's numbers for `agent_bot_inboxes.status`.
const ACTIVE: i32 = 0;
const INACTIVE: i32 = 1;

/// Who answers first in an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bot {
    None,
    Inactive,
    Active,
    Assistant,
}

/// What conversations need to know of their inbox.
#[derive(Debug, Clone)]
pub struct Inbox {
    pub id: i32,
    pub bot: Bot,
    /// Working hours, where they are enabled.
    pub hours: Option<WorkingHours>,
}

impl Inbox {
    pub fn has_active_bot(&self) -> bool {
        matches!(self.bot, Bot::Active | Bot::Assistant)
    }

    /// Whether an agent's message in the channel's own app comes back as an echo.
    pub fn has_echoes(&self) -> bool {
        matches!(channel(self.id), "Channel::Whatsapp" | "Channel::Instagram")
    }
}

/// The rows of inboxes and of their settings.
pub struct InboxRows {
    inboxes: Rows,
    working_hours: Rows,
    agent_bots: Rows,
    assistants: Rows,
}

impl InboxRows {
    pub fn new() -> Self {
        Self {
            inboxes: Rows::new(&INBOXES),
            working_hours: Rows::new(&WORKING_HOURS),
            agent_bots: Rows::new(&AGENT_BOT_INBOXES),
            assistants: Rows::new(&CAPTAIN_INBOXES),
        }
    }

    /// Adds the rows of an inbox. Ids decide on its settings, so that the smallest sample has all of them.
    pub fn push(&mut self, id: i32, tenant: &Tenant, at: NaiveDateTime, rng: &mut impl Rng) -> Result<Inbox> {
        let channel = channel(id);
        let kind = channel.trim_start_matches("Channel::");
        let name = match id % 11 {
            0 => format!("{kind} 💬 {}", "Atendimento ".repeat(30)),
            _ => format!("{kind} {}", tenant.name),
        };
        let timezone = pick(rng, TIMEZONES);
        let hours_enabled = id % 3 != 0;
        let week = week(id);
        self.inboxes.push(&[
            &id,
            &id,
            &tenant.account_id,
            &name,
            &channel,
            &timezone,
            &at,
            &at,
            &hours_enabled,
            &true,
        ]);
        for (number, day) in (0..).zip(&week) {
            self.push_day(id, tenant, number, *day, at);
        }
        let bot = match id % 4 {
            1 => Bot::Active,
            2 => Bot::Assistant,
            3 => Bot::Inactive,
            _ => Bot::None,
        };
        self.push_bot(id, tenant, bot, at);
        let zone: Tz = timezone
            .parse()
            .with_context(|| format!("look up time zone {timezone}"))?;
        Ok(Inbox {
            id,
            bot,
            hours: hours_enabled.then_some(WorkingHours { zone, week }),
        })
    }

    fn push_day(&mut self, inbox_id: i32, tenant: &Tenant, number: i32, day: Day, at: NaiveDateTime) {
        let hour = |time: NaiveTime| i32::try_from(time.hour()).expect("a day has 24 hours");
        let minute = |time: NaiveTime| i32::try_from(time.minute()).expect("an hour has 60 minutes");
        self.working_hours.push(&[
            &(i64::from(inbox_id - 1) * 7 + i64::from(number) + 1),
            &i64::from(inbox_id),
            &i64::from(tenant.account_id),
            &number,
            &day.is_none(),
            &day.map(|(opens, _)| hour(opens)),
            &day.map(|(opens, _)| minute(opens)),
            &day.map(|(_, closes)| hour(closes)),
            &day.map(|(_, closes)| minute(closes)),
            &at,
            &at,
            &(day == ALL_DAY),
        ]);
    }

    fn push_bot(&mut self, inbox_id: i32, tenant: &Tenant, bot: Bot, at: NaiveDateTime) {
        let status = match bot {
            Bot::None => return,
            Bot::Assistant => {
                let (id, assistant) = (i64::from(inbox_id), i64::from(tenant.assistant()));
                return self.assistants.push(&[&id, &assistant, &id, &at, &at]);
            }
            Bot::Active => ACTIVE,
            Bot::Inactive => INACTIVE,
        };
        self.agent_bots.push(&[
            &i64::from(inbox_id),
            &inbox_id,
            &tenant.agent_bot(),
            &status,
            &at,
            &at,
            &tenant.account_id,
        ]);
    }

    pub fn into_rows(self) -> [Rows; 4] {
        [self.inboxes, self.working_hours, self.agent_bots, self.assistants]
    }
}

/// Neighbouring ids have different channels, and so do a tenant's inboxes.
fn channel(id: i32) -> &'static str {
    CHANNELS[usize::try_from(id).expect("ids are positive") % CHANNELS.len()]
}

const fn time(hour: u32, minute: u32) -> NaiveTime {
    NaiveTime::from_hms_opt(hour, minute, 0).expect("a time of the day")
}

/// Chatwoot gives an open day these hours, and also says that it is open all day.
const ALL_DAY: Day = Some((time(0, 0), time(23, 59)));
/// Chatwoot's own hours of a new inbox.
const OFFICE: Day = Some((time(9, 0), time(17, 0)));

fn week(id: i32) -> [Day; 7] {
    match id % 4 {
        1 => {
            let early = Some((time(8, 17), time(18, 43)));
            let saturday = Some((time(8, 30), time(12, 5)));
            [None, early, early, ALL_DAY, early, early, saturday]
        }
        2 => {
            let late = Some((time(13, 45), time(23, 10)));
            [late, None, late, late, late, late, late]
        }
        _ => [None, OFFICE, OFFICE, OFFICE, OFFICE, OFFICE, None],
    }
}

//! The numbers of a page, summed up from groups, and kept until the next run.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use futures::future::try_join;
use tidemark_ledger::DbResult;
use tidemark_ledger::tenant_page::numbers::{Group, Names, Responses, Tally, Waiting};
use tidemark_ledger::tenant_page::{Filter, Look};
use tidemark_shared::ids::TenantId;

use super::responses::Medians;

/// What is kept: pages of tenants and filters.
const KEPT: usize = 200;

/// An inbox, a team or an agent. Without an id: no team, nobody.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Place {
    pub id: Option<i64>,
    pub name: Option<String>,
    pub channel: Option<String>,
    pub tally: Tally,
    /// Seconds to the first response. Teams have none: they are only chosen from.
    pub response_median: Option<f64>,
    newest: i64,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    pub contacts: i64,
    /// Seconds to the first response: half took no longer, nine of ten took no longer.
    pub response_median: Option<f64>,
    pub response_p90: Option<f64>,
}

#[derive(Debug, Clone, Default)]
pub struct Part {
    pub tally: Tally,
    pub totals: Totals,
}

#[derive(Debug, Clone, Default)]
pub struct Numbers {
    pub span: Part,
    pub before: Part,
    /// Every day of the span.
    pub days: Vec<(NaiveDate, Tally)>,
    /// Conversations that began on a weekday (0: Sunday) in an hour.
    pub hours: [[i64; 24]; 7],
    /// The most conversations first.
    pub inboxes: Vec<Place>,
    pub teams: Vec<Place>,
    pub agents: Vec<Place>,
    pub channels: BTreeMap<String, Tally>,
    pub handlers: BTreeMap<String, Tally>,
    pub waiting: i64,
    pub waiting_since: Option<DateTime<Utc>>,
}

/// What the rows of a tenant depend on: they are others after a run, and after a contact was forgotten, which raises the version
/// of the mapping.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub newest_run_at: Option<DateTime<Utc>>,
    pub mapping_version: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    state: State,
    filter: Filter,
    before: Option<Filter>,
}

/// Numbers that were counted. Days are part of the filter, so another local day is another entry.
#[derive(Debug, Default)]
pub struct Kept(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// Grows with each use.
    uses: u64,
    entries: HashMap<Key, Entry>,
}

#[derive(Debug)]
struct Entry {
    last_use: u64,
    numbers: Arc<Numbers>,
}

impl Kept {
    fn find(&self, key: &Key) -> Option<Arc<Numbers>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let last_use = kept.uses;
        let found = kept.entries.get_mut(key)?;
        found.last_use = last_use;
        Some(Arc::clone(&found.numbers))
    }

    fn insert(&self, key: Key, numbers: &Arc<Numbers>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.entries.len() >= KEPT {
            let oldest = kept.entries.iter().min_by_key(|(_, entry)| entry.last_use);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                kept.entries.remove(&oldest);
            }
        }
        let entry = Entry {
            last_use: kept.uses,
            numbers: Arc::clone(numbers),
        };
        kept.entries.insert(key, entry);
    }

    /// The numbers of a filter and of the span before it, in this state of the tenant's rows.
    pub async fn count(
        &self,
        look: &mut Look,
        tenant: TenantId,
        state: State,
        filter: &Filter,
        before: Option<&Filter>,
    ) -> DbResult<Arc<Numbers>> {
        let key = Key {
            tenant,
            state,
            filter: filter.clone(),
            before: before.cloned(),
        };
        if let Some(found) = self.find(&key) {
            return Ok(found);
        }
        let numbers = Arc::new(count(look, filter, before).await?);
        self.insert(key, &numbers);
        Ok(numbers)
    }
}

/// What is read of one span of days.
struct Read {
    groups: Vec<Group>,
    contacts: i64,
    medians: Medians,
}

/// With a second look the statements run side by side: the groups take about as long as the other two.
async fn read(look: &mut Look, second: Option<&mut Look>, filter: &Filter) -> DbResult<Read> {
    let (groups, (contacts, responses)) = match second {
        Some(second) => try_join(look.groups(filter), read_others(second, filter)).await?,
        None => (look.groups(filter).await?, read_others(look, filter).await?),
    };
    Ok(Read {
        groups,
        contacts,
        medians: Medians::of(responses),
    })
}

async fn read_others(look: &mut Look, filter: &Filter) -> DbResult<(i64, Vec<Responses>)> {
    Ok((look.contacts(filter).await?, look.responses(filter).await?))
}

async fn count(look: &mut Look, filter: &Filter, before: Option<&Filter>) -> DbResult<Numbers> {
    let mut second = look.beside().await;
    let span = read(look, second.as_mut(), filter).await?;
    let mut numbers = sum(&span.groups, filter);
    numbers.span.totals = totals(span.contacts, &span.medians);
    for (places, found) in [
        (&mut numbers.inboxes, &span.medians.by_inbox),
        (&mut numbers.agents, &span.medians.by_agent),
    ] {
        for place in places {
            place.response_median = found.get(&place.id).copied();
        }
    }
    if let Some(before) = before {
        let read = read(look, second.as_mut(), before).await?;
        numbers.before.tally = sum(&read.groups, before).span.tally;
        numbers.before.totals = totals(read.contacts, &read.medians);
    }
    let Waiting { conversations, since } = look.waiting(filter).await?;
    (numbers.waiting, numbers.waiting_since) = (conversations, since);
    let places = [&numbers.inboxes, &numbers.teams, &numbers.agents];
    let newest: Vec<i64> = places.into_iter().flatten().map(|place| place.newest).collect();
    name(&mut numbers, &look.names(&newest).await?);
    Ok(numbers)
}

const fn totals(contacts: i64, medians: &Medians) -> Totals {
    Totals {
        contacts,
        response_median: medians.median,
        response_p90: medians.p90,
    }
}

fn sum(groups: &[Group], filter: &Filter) -> Numbers {
    let mut numbers = Numbers::default();
    let mut days: BTreeMap<NaiveDate, Tally> = filter
        .first
        .iter_days()
        .take_while(|day| *day <= filter.last)
        .map(|day| (day, Tally::default()))
        .collect();
    let (mut inboxes, mut teams, mut agents) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for group in groups {
        if group.is_by_time {
            if let Some(day) = group.conversation_date {
                *days.entry(day).or_default() += group.tally;
                let weekday = day.weekday().num_days_from_sunday() as usize;
                let hour = group
                    .conversation_hour
                    .and_then(|hour| usize::try_from(hour).ok());
                if let Some(cell) = hour.and_then(|hour| numbers.hours[weekday].get_mut(hour)) {
                    *cell += group.tally.conversations;
                }
            }
            continue;
        }
        numbers.span.tally += group.tally;
        add(&mut inboxes, group.inbox_id.map(i64::from), group);
        add(&mut teams, group.team_id, group);
        add(&mut agents, group.assignee_id.map(i64::from), group);
        if let Some(channel) = &group.inbox_channel_type {
            *numbers.channels.entry(channel.clone()).or_default() += group.tally;
        }
        if let Some(handler) = &group.handled_by {
            *numbers.handlers.entry(handler.clone()).or_default() += group.tally;
        }
    }
    numbers.days = days.into_iter().collect();
    (numbers.inboxes, numbers.teams, numbers.agents) = (sorted(inboxes), sorted(teams), sorted(agents));
    numbers
}

fn add(places: &mut BTreeMap<Option<i64>, Place>, id: Option<i64>, group: &Group) {
    let place = places.entry(id).or_default();
    place.id = id;
    place.tally += group.tally;
    place.newest = place.newest.max(group.newest_id);
}

fn sorted(places: BTreeMap<Option<i64>, Place>) -> Vec<Place> {
    let mut places: Vec<Place> = places.into_values().collect();
    // nobody and no team come last
    places.sort_by_key(|place| (place.id.is_none(), std::cmp::Reverse(place.tally.conversations)));
    places
}

/// Gives places the names that their newest conversation has.
fn name(numbers: &mut Numbers, names: &[Names]) {
    let by_id: BTreeMap<i64, &Names> = names.iter().map(|one| (one.conversation_id, one)).collect();
    for place in &mut numbers.inboxes {
        if let Some(found) = by_id.get(&place.newest) {
            place.name.clone_from(&found.inbox_name);
            place.channel.clone_from(&found.inbox_channel_type);
        }
    }
    for place in &mut numbers.teams {
        if let Some(found) = by_id.get(&place.newest) {
            place.name.clone_from(&found.team_name);
        }
    }
    for place in &mut numbers.agents {
        if let Some(found) = by_id.get(&place.newest) {
            place.name.clone_from(&found.assignee_name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(is_by_time: bool, day: u32, agent: Option<i32>, conversations: i64) -> Group {
        Group {
            is_by_time,
            conversation_date: is_by_time.then(|| NaiveDate::from_ymd_opt(2026, 11, day).unwrap()),
            conversation_hour: is_by_time.then_some(9),
            inbox_id: Some(1),
            inbox_channel_type: None,
            team_id: None,
            assignee_id: agent,
            handled_by: Some("human".to_owned()),
            tally: Tally {
                conversations,
                ..Tally::default()
            },
            newest_id: i64::from(day),
        }
    }

    #[test]
    fn days_without_a_conversation_are_there_and_groups_add_up() {
        let day = |day| NaiveDate::from_ymd_opt(2026, 11, day).unwrap();
        let groups = [
            group(true, 1, None, 2),
            group(true, 3, None, 5),
            group(false, 1, Some(7), 3),
            group(false, 3, None, 4),
        ];
        let numbers = sum(&groups, &Filter::everything(day(1), day(3)));
        let by_day: Vec<i64> = numbers
            .days
            .iter()
            .map(|(_, tally)| tally.conversations)
            .collect();
        assert_eq!(by_day, [2, 0, 5]);
        // 2026-11-01 is a Sunday
        assert_eq!((numbers.hours[0][9], numbers.hours[2][9]), (2, 5));
        assert_eq!(numbers.span.tally.conversations, 7);
        let agents: Vec<_> = numbers
            .agents
            .iter()
            .map(|one| (one.id, one.tally.conversations))
            .collect();
        assert_eq!(agents, [(Some(7), 3), (None, 4)]);
    }

    #[test]
    fn only_a_number_of_pages_is_kept() {
        let kept = Kept::default();
        let day = NaiveDate::from_ymd_opt(2026, 11, 1).unwrap();
        let key = |id| Key {
            tenant: TenantId(id),
            state: State::default(),
            filter: Filter::everything(day, day),
            before: None,
        };
        for id in 1..=250 {
            assert!(kept.find(&key(id)).is_none());
            kept.insert(key(id), &Arc::default());
            assert!(kept.find(&key(1)).is_some(), "what is used stays");
        }
        assert_eq!(kept.0.lock().unwrap().entries.len(), KEPT);
    }
}

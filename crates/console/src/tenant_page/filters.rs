//! What a link to the page asks for, and links that ask for something else.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate};
use tidemark_ledger::tenant_page::Filter;
use tidemark_ledger::tenant_page::rows::{Counted, Place, Selection};

use crate::error::{PageError, PageResult};
use crate::links::encode;

pub type Query = BTreeMap<String, String>;

/// Spans that a click chooses, in days up to today.
pub const PRESETS: [u16; 3] = [7, 30, 90];
const DEFAULT: u16 = 30;
/// The longest span.
const DAYS_MOST: i64 = 1_100;

/// Who handled a conversation, as `handled_by` has it.
pub const HANDLERS: [&str; 4] = ["human", "mixed", "bot", "nobody"];

/// The filters of a link, understood on this day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The link names a number of days up to today, and no dates.
    pub preset: Option<u16>,
    pub selection: Selection,
    pub after: Option<Place>,
    pub shows_values: bool,
    /// The link has no other parameters, and each in its shortest form.
    pub is_canonical: bool,
}

impl Asked {
    /// `today` is the day at the tenant. Another tenant's ids are not told from wrong ones.
    pub fn parse(query: &Query, today: NaiveDate) -> PageResult<Self> {
        let text = |name: &str| {
            query
                .get(name)
                .map(String::as_str)
                .filter(|text| !text.is_empty())
        };
        let (preset, first, last) = span(&text, today)?;
        let counted = text("of").map_or(Some(Counted::All), Counted::parse);
        let counted = counted.ok_or(PageError::NotFound)?;
        let handled_by = text("by").map(|by| {
            HANDLERS
                .into_iter()
                .find(|one| *one == by)
                .ok_or(PageError::NotFound)
        });
        let mut asked = Self {
            preset,
            selection: Selection {
                filter: Filter {
                    first,
                    last,
                    inbox: number(text("inbox"), 1..=i64::from(i32::MAX))?,
                    team: number(text("team"), 0..=i64::MAX)?,
                    agent: number(text("agent"), 0..=i64::from(i32::MAX))?,
                    channel: text("channel").map(str::to_owned),
                },
                counted,
                hour: number(text("hour"), 0..=23)?,
                weekday: number(text("weekday"), 0..=6)?,
                handled_by: handled_by.transpose()?.map(str::to_owned),
            },
            after: text("after").map(|after| place(after, counted)).transpose()?,
            shows_values: query.contains_key("values"),
            is_canonical: false,
        };
        let shortest: Query = asked.parameters().into_iter().collect();
        let given = query
            .iter()
            .filter(|(name, _)| *name != "after" && *name != "values");
        asked.is_canonical = given.clone().count() == shortest.len()
            && given
                .into_iter()
                .all(|(name, value)| shortest.get(name) == Some(value));
        Ok(asked)
    }

    /// The parameters of a link to the same.
    fn parameters(&self) -> Vec<(String, String)> {
        let Selection {
            filter,
            counted,
            hour,
            weekday,
            handled_by,
        } = &self.selection;
        let mut all: Vec<(&str, Option<String>)> = match self.preset {
            Some(DEFAULT) => Vec::new(),
            Some(days) => vec![("days", Some(days.to_string()))],
            None => vec![
                ("from", Some(filter.first.to_string())),
                ("to", Some(filter.last.to_string())),
            ],
        };
        all.extend([
            ("inbox", filter.inbox.map(|id| id.to_string())),
            ("team", filter.team.map(|id| id.to_string())),
            ("agent", filter.agent.map(|id| id.to_string())),
            ("channel", filter.channel.clone()),
            ("of", Some(counted.as_str().to_owned()).filter(|of| of != "all")),
            ("hour", hour.map(|hour| hour.to_string())),
            ("weekday", weekday.map(|day| day.to_string())),
            ("by", handled_by.clone()),
        ]);
        all.into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }

    /// A link at `path` to the same with changes: `None` removes a parameter.
    pub fn link(&self, path: &str, changes: &[(&str, Option<String>)]) -> String {
        let mut all = self.parameters();
        if self.shows_values {
            all.push(("values".to_owned(), "1".to_owned()));
        }
        all.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        for (name, value) in changes {
            all.extend(value.iter().map(|value| ((*name).to_owned(), value.clone())));
        }
        let query: Vec<String> = all
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", query.join("&"))
        }
    }

    /// A link to the same page with another span of days up to today.
    pub fn link_days(&self, path: &str, days: u16) -> String {
        let days = Some(days.to_string()).filter(|_| days != DEFAULT);
        self.link(path, &[("days", days), ("from", None), ("to", None)])
    }

    /// The filter of the same length just before.
    pub fn before(&self) -> Option<Filter> {
        let filter = &self.selection.filter;
        let length = u64::try_from((filter.last - filter.first).num_days()).ok()? + 1;
        Some(Filter {
            first: filter.first.checked_sub_days(Days::new(length))?,
            last: filter.first.pred_opt()?,
            ..filter.clone()
        })
    }

    /// Whether it is about a part of the tenant's conversations.
    pub const fn is_narrowed(&self) -> bool {
        let filter = &self.selection.filter;
        filter.inbox.is_some() || filter.team.is_some() || filter.agent.is_some() || filter.channel.is_some()
    }
}

fn span<'a>(
    text: &impl Fn(&str) -> Option<&'a str>,
    today: NaiveDate,
) -> PageResult<(Option<u16>, NaiveDate, NaiveDate)> {
    let of_preset = |days: u16| {
        today
            .checked_sub_days(Days::new(u64::from(days) - 1))
            .unwrap_or(today)
    };
    let preset = match text("days") {
        None => None,
        Some(days) => {
            let days: u16 = days.parse().map_err(|_| PageError::NotFound)?;
            Some(
                PRESETS
                    .into_iter()
                    .find(|one| *one == days)
                    .ok_or(PageError::NotFound)?,
            )
        }
    };
    let date = |name| {
        text(name)
            .map(|date| date.parse::<NaiveDate>().map_err(|_| PageError::WrongDates))
            .transpose()
    };
    let (first, last) = match (date("from")?, date("to")?) {
        (None, None) => {
            let days = preset.unwrap_or(DEFAULT);
            return Ok((Some(days), of_preset(days), today));
        }
        (first, last) => {
            let last = last.unwrap_or(today);
            let first = first.unwrap_or(last);
            (first.min(last), first.max(last))
        }
    };
    if (last - first).num_days() >= DAYS_MOST || first < NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or(first)
    {
        return Err(PageError::WrongDates);
    }
    // a form sends the dates that it shows
    let kept = preset.filter(|days| last == today && first == of_preset(*days));
    Ok((kept, first, last))
}

fn number<T: TryFrom<i64>>(
    text: Option<&str>,
    range: std::ops::RangeInclusive<i64>,
) -> PageResult<Option<T>> {
    let Some(text) = text else { return Ok(None) };
    let number: i64 = text.parse().map_err(|_| PageError::NotFound)?;
    if !range.contains(&number) {
        return Err(PageError::NotFound);
    }
    T::try_from(number).map(Some).map_err(|_| PageError::NotFound)
}

/// The place of a conversation as a parameter: `2026-11-29.4711`, or microseconds since 1970 in place of the day.
pub fn place_text(place: Place) -> String {
    match place {
        Place::Day(day, id) => format!("{day}.{id}"),
        Place::Since(since, id) => format!("{}.{id}", since.timestamp_micros()),
    }
}

fn place(text: &str, counted: Counted) -> PageResult<Place> {
    let parse = || {
        let (at, id) = text.split_once('.')?;
        let id = id.parse().ok()?;
        Some(match counted {
            Counted::Waiting => Place::Since(DateTime::from_timestamp_micros(at.parse().ok()?)?, id),
            _ => Place::Day(at.parse().ok()?, id),
        })
    };
    parse().ok_or(PageError::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn asked(query: &str) -> PageResult<Asked> {
        let query: Query = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        Asked::parse(&query, day("2026-11-29"))
    }

    #[test]
    fn a_link_holds_its_filters() {
        for query in [
            "",
            "days=7",
            "from=2026-01-01&to=2026-03-31",
            "days=90&inbox=3&team=0&agent=7&channel=Channel%3A%3AEmail&of=resolved&hour=0&weekday=6&by=bot",
        ] {
            let found = asked(query).unwrap();
            let expected = if query.is_empty() {
                "/t/a".to_owned()
            } else {
                format!("/t/a?{query}")
            };
            assert_eq!(found.link("/t/a", &[]), expected);
            assert!(found.is_canonical, "{query}");
        }
        let found = asked("days=7&agent=7").unwrap();
        assert_eq!(
            found.link("/x", &[("agent", None), ("of", Some("rated".to_owned()))]),
            "/x?days=7&of=rated"
        );
        assert_eq!(found.link_days("/x", 30), "/x?agent=7");
    }

    #[test]
    fn a_span_is_whole_days_and_the_one_before_is_as_long() {
        let week = asked("days=7").unwrap();
        let filter = &week.selection.filter;
        assert_eq!(
            (filter.first, filter.last),
            (day("2026-11-23"), day("2026-11-29"))
        );
        let before = week.before().unwrap();
        assert_eq!(
            (before.first, before.last),
            (day("2026-11-16"), day("2026-11-22"))
        );
        let turned = asked("from=2026-02-03&to=2026-02-01").unwrap().selection.filter;
        assert_eq!(
            (turned.first, turned.last),
            (day("2026-02-01"), day("2026-02-03"))
        );
    }

    #[test]
    fn a_form_that_changes_no_date_keeps_the_moving_span() {
        let same = asked("days=30&from=2026-10-31&to=2026-11-29&inbox=").unwrap();
        assert_eq!((same.preset, same.is_canonical), (Some(30), false));
        let other = asked("days=30&from=2026-10-01&to=2026-11-29").unwrap();
        assert_eq!(other.preset, None);
    }

    #[test]
    fn what_is_no_filter_is_not_found() {
        for query in [
            "days=31",
            "days=x",
            "inbox=x",
            "inbox=0",
            "inbox=4294967297",
            "hour=24",
            "weekday=7",
            "by=x",
            "of=x",
            "after=x",
            "after=2026-11-29",
            "of=waiting&after=2026-11-29.1",
        ] {
            assert!(matches!(asked(query), Err(PageError::NotFound)), "{query}");
        }
        for query in ["from=x", "from=2026-02-30", "from=1000-01-01", "from=2020-01-01"] {
            assert!(matches!(asked(query), Err(PageError::WrongDates)), "{query}");
        }
    }

    #[test]
    fn a_place_is_read_back() {
        for (counted, text) in [
            (Counted::All, "2026-11-29.4711"),
            (Counted::Waiting, "1795986000123456.9"),
        ] {
            assert_eq!(place_text(place(text, counted).unwrap()), text);
        }
    }
}

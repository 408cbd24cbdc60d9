//! Working hours of an inbox, and how much of a span of time lies within them.

use chrono::{Days, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

/// When a day opens and closes; `None` when it is closed all day.
pub type Day = Option<(NaiveTime, NaiveTime)>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingHours {
    pub zone: Tz,
    /// From Sunday on.
    pub week: [Day; 7],
}

impl WorkingHours {
    /// Whole seconds of the span within working hours, as Chatwoot counts them. Negative when it ends before it starts.
    pub fn seconds_within(&self, from: NaiveDateTime, to: NaiveDateTime) -> i64 {
        if to < from {
            return -self.seconds_within(to, from);
        }
        let local = |at| self.zone.from_utc_datetime(&at).date_naive();
        let last = local(to);
        let mut sum = TimeDelta::zero();
        for date in local(from).iter_days().take_while(|date| *date <= last) {
            if let Some((opens, closes)) = self.week[weekday(date)] {
                let start = self.utc(date.and_time(opens)).max(from);
                let end = self.utc(date.and_time(closes)).min(to);
                sum += (end - start).max(TimeDelta::zero());
            }
        }
        (sum + TimeDelta::milliseconds(500)).num_seconds()
    }

    /// The instant of a local time. A time that a change of the clock skips counts as if the clock had not changed yet.
    fn utc(&self, local: NaiveDateTime) -> NaiveDateTime {
        let offset = match self.zone.offset_from_local_datetime(&local).earliest() {
            Some(offset) => offset,
            None => self.zone.offset_from_utc_datetime(&(local - Days::new(1))),
        };
        local - offset.fix()
    }
}

fn weekday(date: chrono::NaiveDate) -> usize {
    use chrono::Datelike;
    usize::try_from(date.weekday().num_days_from_sunday()).expect("a week has seven days")
}

#[cfg(test)]
mod tests {
    use chrono_tz::America::Sao_Paulo;
    use chrono_tz::Europe::Lisbon;

    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    fn day(opens: (u32, u32), closes: (u32, u32)) -> Day {
        let time = |(hour, minute)| NaiveTime::from_hms_opt(hour, minute, 0).unwrap();
        Some((time(opens), time(closes)))
    }

    fn office(zone: Tz) -> WorkingHours {
        let office = day((8, 17), (18, 43));
        let all_day = day((0, 0), (23, 59));
        WorkingHours {
            zone,
            week: [None, office, office, all_day, office, office, None],
        }
    }

    #[test]
    fn hours_are_those_of_the_inbox_in_its_own_zone() {
        let office = office(Sao_Paulo);
        // 2025-06-09 is a Monday; São Paulo is three hours behind
        let hour = office.seconds_within(at("2025-06-09T12:00:00.25"), at("2025-06-09T13:00:00.9"));
        assert_eq!(hour, 3_601);
        let early = office.seconds_within(at("2025-06-09T11:00:00"), at("2025-06-09T11:17:05"));
        assert_eq!(early, 5, "it opens at 11:17 in UTC");
        let all_day = office.seconds_within(at("2025-06-11T03:00:00"), at("2025-06-12T03:00:00"));
        assert_eq!(all_day, 86_340, "open all day ends at 23:59");
        let weekend = office.seconds_within(at("2025-06-14T12:00:00"), at("2025-06-15T23:00:00"));
        assert_eq!(weekend, 0);
        let weeks = office.seconds_within(at("2025-06-01T00:00:00"), at("2025-06-15T00:00:00"));
        assert_eq!(weeks, 2 * (4 * 626 * 60 + 86_340));
    }

    #[test]
    fn a_span_that_runs_backwards_is_negative_and_a_change_of_the_clock_counts() {
        let office = office(Lisbon);
        let (from, to) = (at("2025-06-09T09:00:00"), at("2025-06-09T10:00:00"));
        assert_eq!(office.seconds_within(to, from), -office.seconds_within(from, to));
        let night = WorkingHours {
            zone: Lisbon,
            week: [day((0, 0), (3, 0)); 7],
        };
        // clocks go forward at 01:00 on 2025-03-30, and back at 02:00 on 2025-10-26
        let short = night.seconds_within(at("2025-03-30T00:00:00"), at("2025-03-30T12:00:00"));
        let long = night.seconds_within(at("2025-10-25T12:00:00"), at("2025-10-26T12:00:00"));
        assert_eq!((short, long), (2 * 3_600, 4 * 3_600));
    }
}

//! The calendar columns: the creation time of a conversation in the tenant's time zone.

use chrono::{DateTime, Datelike, NaiveDate, Offset, TimeZone, Timelike, Utc, Weekday};
use chrono_tz::Tz;
use tidemark_postgres::source_time::SourceTime;

use crate::row::columns::Calendar;
use crate::row::value::Date;

const SECOND: i64 = 1_000_000;
/// The Gregorian calendar repeats every 146,097 days, which is a whole number of weeks.
const CYCLE: i64 = 146_097 * 86_400 * SECOND;
const YEARS_OF_CYCLE: i64 = 400;

/// chrono-tz lists the clock changes of each zone up to the end of 2099. Changes that depend on Ramadan end in 2087.
/// Later ones only depend on the weeks of a month, and PostgreSQL continues them forever.
const LISTED_BEFORE: i32 = 2099;
const RULES_ALONE_SINCE: i32 = 2088;

const MONTHS: [&str; 12] = [
    "Janeiro",
    "Fevereiro",
    "Março",
    "Abril",
    "Maio",
    "Junho",
    "Julho",
    "Agosto",
    "Setembro",
    "Outubro",
    "Novembro",
    "Dezembro",
];

/// Every column is NULL when `created_at` has no local date: it is infinite, or out of PostgreSQL's range.
pub(super) fn calendar(created_at: SourceTime, timezone: Tz) -> Calendar {
    local_time(created_at, timezone)
        .and_then(calendar_of)
        .unwrap_or_default()
}

fn calendar_of(local: SourceTime) -> Option<Calendar> {
    let (clock, years) = within_cycle(local)?;
    let (year, month, day) = (clock.year() + years, clock.month(), clock.day());
    let (hour, minute) = (clock.hour(), clock.minute());
    let (week, week_year) = (clock.iso_week().week(), clock.iso_week().year() + years);
    let is_weekend = matches!(clock.weekday(), Weekday::Sat | Weekday::Sun);
    let date = format!("{:04}-{month:02}-{day:02}", era_year(year));

    Some(Calendar {
        conversation_date: Date::of(local),
        // as PostgreSQL extracts it: there is no year 0, 1 BC is -1
        conversation_year: Some(if year > 0 { year } else { year - 1 }),
        conversation_month: Some(month.cast_signed()),
        conversation_day: Some(day.cast_signed()),
        conversation_hour: Some(hour.cast_signed()),
        conversation_minute: Some(minute.cast_signed()),
        conversation_quarter: Some(month.div_ceil(3).cast_signed()),
        conversation_day_of_week: Some(clock.weekday().num_days_from_sunday().cast_signed()),
        conversation_week_of_year: Some(week.cast_signed()),
        conversation_day_name: Some(day_name(clock.weekday())),
        conversation_month_name: MONTHS.get(clock.month0() as usize).copied(),
        conversation_period: Some(match hour {
            0..=5 => "Madrugada",
            6..=11 => "Manhã",
            12..=17 => "Tarde",
            _ => "Noite",
        }),
        is_weekday: Some(!is_weekend),
        is_weekend: Some(is_weekend),
        is_business_hours: Some(!is_weekend && (9..=17).contains(&hour)),
        is_night_time: Some(!(6..20).contains(&hour)),
        conversation_datetime_formatted: Some(format!("{date} {hour:02}:{minute:02}")),
        conversation_date_formatted: Some(date),
        conversation_year_month: Some(format!("{:04}-{month:02}", era_year(year))),
        conversation_year_week: Some(format!("{:04}-{week:02}", era_year(week_year))),
    })
}

/// The weekday in the zone, where 0 is Sunday, and the microseconds of that day. `None` when the time has no local date.
pub(super) fn weekday_and_micros(time: SourceTime, timezone: Tz) -> Option<(usize, i64)> {
    let local = local_time(time, timezone)?;
    let (clock, _) = within_cycle(local)?;
    let weekday = clock.weekday().num_days_from_sunday() as usize;
    Some((weekday, local.micros().rem_euclid(86_400 * SECOND)))
}

/// The local time in the zone, stored as if it were UTC.
fn local_time(created_at: SourceTime, timezone: Tz) -> Option<SourceTime> {
    let (clock, years) = within_cycle(created_at)?;
    let utc = if clock.year() + years < LISTED_BEFORE {
        DateTime::try_from(created_at).ok()?
    } else {
        same_day_in_listed_year(clock)?
    };
    let offset = timezone
        .offset_from_utc_datetime(&utc.naive_utc())
        .fix()
        .local_minus_utc();
    SourceTime::from_micros(created_at.micros() + i64::from(offset) * SECOND)
}

/// A finite time moved by whole cycles into the years 2000 to 2399, and the number of years to add back. chrono's range
/// is smaller than PostgreSQL's.
fn within_cycle(time: SourceTime) -> Option<(DateTime<Utc>, i32)> {
    let time = Some(time).filter(|time| time.is_finite())?.micros();
    let moved = SourceTime::from_micros(time.rem_euclid(CYCLE))?;
    let years = time.div_euclid(CYCLE) * YEARS_OF_CYCLE;
    Some((DateTime::try_from(moved).ok()?, i32::try_from(years).ok()?))
}

/// The same day and hour in a listed year whose 1 March is the same weekday: its clock changes are on the same days. The
/// year starts in March here, so that a leap day is its last day and shifts no other; no clock changes around it.
fn same_day_in_listed_year(utc: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let march = |year| NaiveDate::from_ymd_opt(year, 3, 1);
    let start = march(if utc.month() < 3 {
        utc.year() - 1
    } else {
        utc.year()
    })?;
    let listed = (RULES_ALONE_SINCE..LISTED_BEFORE)
        .filter_map(march)
        .find(|listed| listed.weekday() == start.weekday())?;
    Some(utc - (start - listed))
}

/// The year in its era (BC or AD), as PostgreSQL's `to_char` prints it.
fn era_year(year: i32) -> i32 {
    if year > 0 { year } else { 1 - year }
}

fn day_name(weekday: Weekday) -> &'static str {
    match weekday {
        Weekday::Sun => "Domingo",
        Weekday::Mon => "Segunda",
        Weekday::Tue => "Terça",
        Weekday::Wed => "Quarta",
        Weekday::Thu => "Quinta",
        Weekday::Fri => "Sexta",
        Weekday::Sat => "Sábado",
    }
}

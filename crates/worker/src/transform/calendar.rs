//! When a conversation began, in the tenant's time zone.

use chrono::{DateTime, Datelike, Offset, TimeZone, Timelike, Utc, Weekday};
use chrono_tz::Tz;
use tidemark_shared::source_time::SourceTime;

use crate::load::columns::Calendar;

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

/// Every column is NULL where `created_at` has no date: infinite, or beyond what chrono or PostgreSQL hold.
pub(super) fn calendar(created_at: SourceTime, timezone: Tz) -> Calendar {
    let Some(local) = local_time(created_at, timezone) else {
        return Calendar::default();
    };
    let (year, month, day) = (local.year(), local.month(), local.day());
    let (hour, minute) = (local.hour(), local.minute());
    let week = local.iso_week();
    let is_weekend = matches!(local.weekday(), Weekday::Sat | Weekday::Sun);
    let date = format!("{:04}-{month:02}-{day:02}", era_year(year));

    Calendar {
        conversation_date: Some(local.date_naive()),
        // as PostgreSQL extracts it: there is no year 0, 1 BC is -1
        conversation_year: Some(if year > 0 { year } else { year - 1 }),
        conversation_month: Some(month.cast_signed()),
        conversation_day: Some(day.cast_signed()),
        conversation_hour: Some(hour.cast_signed()),
        conversation_minute: Some(minute.cast_signed()),
        conversation_quarter: Some(month.div_ceil(3).cast_signed()),
        conversation_day_of_week: Some(local.weekday().num_days_from_sunday().cast_signed()),
        conversation_week_of_year: Some(week.week().cast_signed()),
        conversation_day_name: Some(day_name(local.weekday())),
        conversation_month_name: MONTHS.get(local.month0() as usize).copied(),
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
        conversation_year_week: Some(format!("{:04}-{:02}", era_year(week.year()), week.week())),
    }
}

/// The clock on the wall there, held as if it were UTC.
fn local_time(created_at: SourceTime, timezone: Tz) -> Option<DateTime<Utc>> {
    let utc = DateTime::<Utc>::try_from(created_at).ok()?;
    let offset = timezone
        .offset_from_utc_datetime(&utc.naive_utc())
        .fix()
        .local_minus_utc();
    let local = created_at.micros() + i64::from(offset) * 1_000_000;
    DateTime::try_from(SourceTime::from_micros(local)?).ok()
}

/// The year within its era, as PostgreSQL's `to_char` prints it.
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

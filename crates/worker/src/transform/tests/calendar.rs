use std::ops::RangeInclusive;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use sqlx::Row;

use super::*;
use crate::row::columns::Calendar;
use crate::row::value::Date;
use crate::test_server::test_server;

const DAY: i64 = 86_400_000_000;

fn calendar(created_at: &str, timezone: Tz) -> Calendar {
    let source = SourceConversation {
        created_at: at(created_at),
        ..conversation()
    };
    transformed_in(timezone, &source).calendar
}

#[test]
fn a_conversation_has_the_date_of_its_tenant() {
    // midnight in UTC is the evening before in São Paulo
    let row = calendar("2024-03-16T00:05:59.999999", chrono_tz::America::Sao_Paulo);
    assert_eq!(row.conversation_date, Date::of(at("2024-03-15T00:00:00")));
    let date = (
        row.conversation_year,
        row.conversation_month,
        row.conversation_day,
    );
    assert_eq!(date, (Some(2024), Some(3), Some(15)));
    assert_eq!(
        (row.conversation_hour, row.conversation_minute),
        (Some(21), Some(5))
    );
    assert_eq!(row.conversation_quarter, Some(1));
    assert_eq!(
        (row.conversation_day_of_week, row.conversation_day_name),
        (Some(5), Some("Sexta"))
    );
    assert_eq!(
        (row.conversation_week_of_year, row.conversation_month_name),
        (Some(11), Some("Março"))
    );
    assert_eq!(row.conversation_period, Some("Noite"));
    assert_eq!((row.is_weekday, row.is_weekend), (Some(true), Some(false)));
    assert_eq!(
        (row.is_business_hours, row.is_night_time),
        (Some(false), Some(true))
    );
    assert_eq!(row.conversation_date_formatted.as_deref(), Some("2024-03-15"));
    assert_eq!(
        row.conversation_datetime_formatted.as_deref(),
        Some("2024-03-15 21:05")
    );
    assert_eq!(row.conversation_year_month.as_deref(), Some("2024-03"));
    assert_eq!(row.conversation_year_week.as_deref(), Some("2024-11"));
}

#[test]
fn the_parts_of_a_day_begin_on_the_hour() {
    // a Monday
    for (hour, period, business, night) in [
        (0, "Madrugada", false, true),
        (5, "Madrugada", false, true),
        (6, "Manhã", false, false),
        (8, "Manhã", false, false),
        (9, "Manhã", true, false),
        (11, "Manhã", true, false),
        (12, "Tarde", true, false),
        (17, "Tarde", true, false),
        (18, "Noite", false, false),
        (19, "Noite", false, false),
        (20, "Noite", false, true),
        (23, "Noite", false, true),
    ] {
        let row = calendar(&format!("2024-03-18T{hour:02}:59:59.999999"), chrono_tz::UTC);
        assert_eq!(
            (row.conversation_hour, row.conversation_period),
            (Some(hour), Some(period))
        );
        assert_eq!(
            (row.is_business_hours, row.is_night_time),
            (Some(business), Some(night)),
            "{hour}"
        );
    }
}

#[test]
fn a_week_runs_from_sunday_to_saturday() {
    for (day, number, name, weekend) in [
        (17, 0, "Domingo", true),
        (18, 1, "Segunda", false),
        (19, 2, "Terça", false),
        (20, 3, "Quarta", false),
        (21, 4, "Quinta", false),
        (22, 5, "Sexta", false),
        (23, 6, "Sábado", true),
    ] {
        let row = calendar(&format!("2024-03-{day}T10:00:00"), chrono_tz::UTC);
        assert_eq!(
            (row.conversation_day_of_week, row.conversation_day_name),
            (Some(number), Some(name))
        );
        assert_eq!((row.is_weekday, row.is_weekend), (Some(!weekend), Some(weekend)));
        assert_eq!(row.is_business_hours, Some(!weekend));
    }
}

#[test]
fn a_year_has_twelve_months_and_four_quarters() {
    let months = [
        ("Janeiro", 1),
        ("Fevereiro", 1),
        ("Março", 1),
        ("Abril", 2),
        ("Maio", 2),
        ("Junho", 2),
        ("Julho", 3),
        ("Agosto", 3),
        ("Setembro", 3),
        ("Outubro", 4),
        ("Novembro", 4),
        ("Dezembro", 4),
    ];
    for (number, (name, quarter)) in (1..).zip(months) {
        let row = calendar(&format!("2023-{number:02}-01T00:00:00"), chrono_tz::UTC);
        assert_eq!(
            (row.conversation_month, row.conversation_month_name),
            (Some(number), Some(name))
        );
        assert_eq!(row.conversation_quarter, Some(quarter));
    }
}

#[test]
fn a_week_belongs_to_the_iso_year() {
    for (date, week, year_week) in [
        ("2021-01-03", 53, "2020-53"),
        ("2021-01-04", 1, "2021-01"),
        ("2024-12-29", 52, "2024-52"),
        ("2024-12-30", 1, "2025-01"),
        ("2027-01-01", 53, "2026-53"),
    ] {
        let row = calendar(&format!("{date}T12:00:00"), chrono_tz::UTC);
        assert_eq!(row.conversation_week_of_year, Some(week), "{date}");
        assert_eq!(row.conversation_year_week.as_deref(), Some(year_week));
    }
}

#[test]
fn the_clock_is_put_forward_and_back() {
    // New York: 2024-03-10 has no 02:30, 2024-11-03 has 01:30 twice; São Paulo had no midnight on 2018-11-04
    for (created_at, timezone, local) in [
        (
            "2024-03-10T06:59:00",
            chrono_tz::America::New_York,
            "2024-03-10 01:59",
        ),
        (
            "2024-03-10T07:00:00",
            chrono_tz::America::New_York,
            "2024-03-10 03:00",
        ),
        (
            "2024-11-03T05:30:00",
            chrono_tz::America::New_York,
            "2024-11-03 01:30",
        ),
        (
            "2024-11-03T06:30:00",
            chrono_tz::America::New_York,
            "2024-11-03 01:30",
        ),
        (
            "2018-11-04T02:59:59",
            chrono_tz::America::Sao_Paulo,
            "2018-11-03 23:59",
        ),
        (
            "2018-11-04T03:00:00",
            chrono_tz::America::Sao_Paulo,
            "2018-11-04 01:00",
        ),
    ] {
        let row = calendar(created_at, timezone);
        assert_eq!(
            row.conversation_datetime_formatted.as_deref(),
            Some(local),
            "{created_at}"
        );
    }
}

#[test]
fn the_clock_changes_in_all_years_to_come() {
    // New York: the second Sunday of March, the first of November; 2000, 2400 and 294000 are the same years
    let timezone = chrono_tz::America::New_York;
    for (created_at, local) in [
        ("2099-11-01T05:59:59", "2099-11-01 01:59"),
        ("2099-11-01T06:00:00", "2099-11-01 01:00"),
        ("2100-03-14T06:59:59", "2100-03-14 01:59"),
        ("2100-03-14T07:00:00", "2100-03-14 03:00"),
        ("2400-03-12T06:59:59", "2400-03-12 01:59"),
        ("2400-03-12T07:00:00", "2400-03-12 03:00"),
        ("294000-11-05T05:59:59", "294000-11-05 01:59"),
        ("294000-11-05T06:00:00", "294000-11-05 01:00"),
        ("294000-02-29T12:00:00", "294000-02-29 07:00"),
    ] {
        let row = calendar(created_at, timezone);
        assert_eq!(row.conversation_datetime_formatted.as_deref(), Some(local));
    }
}

#[test]
fn the_first_and_the_last_day_have_a_date() {
    let first = calendar("4714-11-24T00:00:00 BC", chrono_tz::UTC);
    assert_eq!(first.conversation_date.map(Date::days), Some(-2_451_545));
    assert_eq!(first.conversation_year, Some(-4714));
    assert_eq!(first.conversation_day_name, Some("Segunda"));
    assert_eq!(first.conversation_year_week.as_deref(), Some("4714-48"));

    let last = calendar("294276-12-31T23:59:59.999999", chrono_tz::UTC);
    assert_eq!(last.conversation_date.map(Date::days), Some(106_751_982));
    assert_eq!(last.conversation_year, Some(294_276));
    // as in 2276
    assert_eq!(last.conversation_day_name, Some("Domingo"));
    assert_eq!(last.conversation_year_week.as_deref(), Some("294276-52"));
    assert_eq!(
        last.conversation_datetime_formatted.as_deref(),
        Some("294276-12-31 23:59")
    );
}

#[test]
fn a_time_without_a_date_leaves_the_calendar_empty() {
    for (created_at, timezone) in [
        ("infinity", chrono_tz::UTC),
        ("-infinity", chrono_tz::UTC),
        ("294276-12-31T23:59:59.999999", chrono_tz::Pacific::Kiritimati),
        // the first day of PostgreSQL's range has not begun in this zone
        ("4714-11-24T00:00:00 BC", chrono_tz::America::Sao_Paulo),
    ] {
        assert_eq!(
            calendar(created_at, timezone),
            Calendar::default(),
            "{created_at}"
        );
    }
}

/// Compares with PostgreSQL over its whole range, and over the centuries in which the zones' rules begin, are listed
/// one by one, and continue forever.
#[tokio::test]
async fn postgresql_keeps_the_same_calendar() {
    let mut runner = TestRunner::default();
    let mut sample = |range: RangeInclusive<i64>| -> Vec<SourceTime> {
        let mut micros = || range.new_tree(&mut runner).unwrap().current();
        (0..1_000)
            .map(|_| SourceTime::from_micros(micros()).unwrap())
            .collect()
    };
    // the first and the last day have no date in some zones
    let all = SourceTime::MIN.micros() + DAY..=SourceTime::MAX.micros() - DAY;
    let centuries = at("1850-01-01T00:00:00").micros()..=at("2450-01-01T00:00:00").micros();
    let mut server = test_server().await;
    for timezone in [
        chrono_tz::UTC,
        chrono_tz::America::New_York,
        chrono_tz::America::Sao_Paulo,
        chrono_tz::Asia::Kathmandu,
        // half an hour, from October to April
        chrono_tz::Australia::Lord_Howe,
        // standard time is in summer, and winter time is one hour earlier
        chrono_tz::Europe::Dublin,
        chrono_tz::Europe::Lisbon,
        chrono_tz::Pacific::Apia,
    ] {
        let times = [sample(all.clone()), sample(centuries.clone())].concat();
        let rows = sqlx::query(
            "SELECT local::date - DATE '2000-01-01', EXTRACT(year FROM local)::int, EXTRACT(quarter FROM local)::int,
                    EXTRACT(dow FROM local)::int, EXTRACT(week FROM local)::int,
                    to_char(local, 'YYYY-MM-DD HH24:MI'), to_char(local, 'YYYY-MM'), to_char(local, 'IYYY-IW')
             FROM UNNEST($1::timestamp[]) WITH ORDINALITY AS u (utc, position),
                  LATERAL (SELECT utc AT TIME ZONE 'UTC' AT TIME ZONE $2 AS local) AS l
             ORDER BY position",
        )
        .bind(&times)
        .bind(timezone.name())
        .fetch_all(&mut server)
        .await
        .unwrap();
        for (created_at, theirs) in times.into_iter().zip(rows) {
            let source = SourceConversation {
                created_at,
                ..conversation()
            };
            let ours = transformed_in(timezone, &source).calendar;
            assert_eq!(
                ours.conversation_date.map(Date::days),
                theirs.get(0),
                "{created_at} {timezone}"
            );
            assert_eq!(ours.conversation_year, theirs.get(1));
            assert_eq!(ours.conversation_quarter, theirs.get(2));
            assert_eq!(ours.conversation_day_of_week, theirs.get(3));
            assert_eq!(ours.conversation_week_of_year, theirs.get(4));
            assert_eq!(ours.conversation_datetime_formatted, theirs.get(5));
            assert_eq!(ours.conversation_year_month, theirs.get(6));
            assert_eq!(ours.conversation_year_week, theirs.get(7));
        }
    }
}

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sqlx::{Connection, PgConnection, Row};

use super::*;

fn any_time() -> impl Strategy<Value = SourceTime> {
    prop_oneof![
        1 => Just(SourceTime::NEG_INFINITY),
        1 => Just(SourceTime::INFINITY),
        1 => Just(SourceTime::MIN),
        1 => Just(SourceTime::MAX),
        8 => (SourceTime::MIN.0..=SourceTime::MAX.0).prop_map(time),
        // the centuries of real rows
        8 => (-UNIX_OFFSET..UNIX_OFFSET * 4).prop_map(time),
        // whole seconds of the years around the change of era
        4 => (-63_150_000_000..-63_080_000_000_i64).prop_map(|second| time(second * SECOND)),
    ]
}

fn time(micros: i64) -> SourceTime {
    SourceTime::from_micros(micros).unwrap()
}

fn parsed(text: &str) -> SourceTime {
    text.parse().unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test server's address is no setting of the program"
)]
async fn test_server() -> PgConnection {
    let url = std::env::var("TIDEMARK_TEST_DATABASE_URL").expect("a test server: run `make test`");
    PgConnection::connect(&url).await.unwrap()
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(time in any_time()) {
        prop_assert_eq!(time.to_string().parse(), Ok(time));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[-0-9T: .BCZ+]{0,32}|.{0,32}") {
        if let Ok(time) = text.parse::<SourceTime>() {
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }

    #[test]
    fn a_chrono_time_comes_back(time in any_time()) {
        if let Ok(chrono) = DateTime::<Utc>::try_from(time) {
            prop_assert_eq!(SourceTime::try_from(chrono), Ok(time));
        }
    }
}

#[test]
fn times_print_as_in_json() {
    for (micros, text) in [
        (0, "2000-01-01T00:00:00"),
        (-1, "1999-12-31T23:59:59.999999"),
        (757_479_845_120_000, "2024-01-02T03:04:05.12"),
        (SourceTime::MAX.0, "294276-12-31T23:59:59.999999"),
        (SourceTime::MIN.0, "4714-11-24T00:00:00 BC"),
        (i64::MAX, "infinity"),
        (i64::MIN, "-infinity"),
    ] {
        assert_eq!(time(micros).to_string(), text);
        assert_eq!(parsed(text), time(micros));
    }
}

#[test]
fn the_forms_of_a_view_are_read() {
    for text in [
        "2024-02-29 03:04:05.120",
        "2024-02-29T03:04:05.12Z",
        "2024-02-29T03:04:05.12+00:00",
        "2024-02-29 03:04:05.12+00",
    ] {
        assert_eq!(parsed(text).to_string(), "2024-02-29T03:04:05.12");
    }
    assert_eq!(
        parsed("0044-03-15 12:00:00+00 BC").to_string(),
        "0044-03-15T12:00:00 BC"
    );
}

#[test]
fn what_is_no_timestamp_in_utc_is_refused() {
    for text in [
        "",
        "2024-01-02",
        "2023-02-29T00:00:00",
        "2024-13-01T00:00:00",
        "2024-00-01T00:00:00",
        "0000-01-01T00:00:00",
        "0000-01-01T00:00:00 BC",
        "24-01-02T00:00:00",
        "2024-01-02T24:00:00",
        "2024-01-02T00:00:60",
        "2024-01-02T00:00:00.",
        "2024-01-02T00:00:00.1234567",
        "2024-01-02T00:00:00-03",
        "2024-01-02T+1:00:00",
    ] {
        assert_eq!(text.parse::<SourceTime>(), Err(SourceTimeError::Syntax), "{text}");
    }
    for text in [
        "294277-01-01T00:00:00",
        "999999-01-01T00:00:00",
        "4714-11-23T23:59:59 BC",
    ] {
        assert_eq!(
            text.parse::<SourceTime>(),
            Err(SourceTimeError::OutOfRange),
            "{text}"
        );
    }
}

#[test]
fn differences_are_exact_between_finite_times() {
    let (early, late) = (
        parsed("2024-01-01T00:00:00"),
        parsed("2024-01-01T00:00:00.000001"),
    );
    assert_eq!(late.micros_since(early), Some(1));
    assert_eq!(early.micros_since(late), Some(-1));
    assert_eq!(
        SourceTime::MAX.micros_since(SourceTime::MIN),
        Some(9_435_184_819_199_999_999)
    );
    assert_eq!(SourceTime::INFINITY.micros_since(early), None);
    assert_eq!(early.micros_since(SourceTime::NEG_INFINITY), None);
}

#[test]
fn chrono_holds_less() {
    assert!(DateTime::<Utc>::try_from(SourceTime::MAX).is_err());
    assert!(DateTime::<Utc>::try_from(SourceTime::INFINITY).is_err());
    assert!(SourceTime::try_from(DateTime::<Utc>::MIN_UTC).is_err());
    assert_eq!(
        SourceTime::try_from(DateTime::UNIX_EPOCH),
        Ok(parsed("1970-01-01T00:00:00"))
    );
}

#[test]
fn numbers_outside_the_range_are_no_times() {
    assert_eq!(SourceTime::from_micros(SourceTime::MAX.0 + 1), None);
    assert_eq!(SourceTime::from_micros(SourceTime::MIN.0 - 1), None);
}

#[tokio::test]
async fn postgresql_prints_orders_and_returns_the_same_times() {
    let mut runner = TestRunner::default();
    let times: Vec<SourceTime> = (0..5_000)
        .map(|_| any_time().new_tree(&mut runner).unwrap().current())
        .collect();
    let mut server = test_server().await;
    let rows = sqlx::query(
        "SELECT t, t AT TIME ZONE 'UTC', to_json(t) #>> '{}', t::text FROM UNNEST($1::timestamp[]) AS u (t) ORDER BY u.t",
    )
    .bind(&times)
    .fetch_all(&mut server)
    .await
    .unwrap();

    let mut sorted = times;
    sorted.sort();
    for (row, time) in rows.iter().zip(&sorted) {
        assert_eq!(row.get::<SourceTime, _>(0), *time);
        assert_eq!(row.get::<SourceTime, _>(1), *time);
        assert_eq!(row.get::<String, _>(2), time.to_string());
        assert_eq!(row.get::<String, _>(3).parse(), Ok(*time));
    }
    assert_eq!(rows.len(), sorted.len());
}

#[tokio::test]
async fn the_text_protocol_gives_the_same_times() {
    let mut server = test_server().await;
    let row = sqlx::raw_sql("SET TimeZone = 'UTC'; SELECT '2024-01-02 03:04:05.12'::timestamp, '0044-03-15 12:00 BC'::timestamptz")
        .fetch_one(&mut server)
        .await
        .unwrap();
    assert_eq!(row.get::<SourceTime, _>(0), parsed("2024-01-02T03:04:05.12"));
    assert_eq!(row.get::<SourceTime, _>(1), parsed("0044-03-15T12:00:00 BC"));
}

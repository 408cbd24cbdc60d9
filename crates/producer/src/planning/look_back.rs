//! How far back a plan searches: `docs/design/fence.md`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tidemark_ledger::coverage::Coverage;

/// A tenant that is synced more often than this has its whole lookback searched only so often: that is as late as a change may arrive
/// whose time was set long before it was written.
const WHOLE_EVERY: Duration = Duration::from_secs(10);
/// What the plans in between search before the watermark. It is more than the clocks of Chatwoot's servers are apart, mostly.
const RECENT: Duration = Duration::from_secs(2);

/// Where the whole lookback begins. Plans that searched only what is recent have moved the watermark past the moment when the whole
/// lookback was searched last; where that is not known any more, by less than the time between two such searches.
pub(crate) fn look_back(
    watermark: DateTime<Utc>,
    lookback: Duration,
    sync_interval: Duration,
    coverage: Option<&Coverage>,
) -> DateTime<Utc> {
    let searched = match coverage {
        Some(known) => watermark.min(known.clock),
        None if sync_interval < WHOLE_EVERY => watermark - WHOLE_EVERY,
        None => watermark,
    };
    searched - lookback
}

/// Where a plan begins that need not search the whole lookback now; `None` when it must. `now` is the source's clock, as that of
/// `coverage`.
pub(crate) fn recent_only(
    watermark: DateTime<Utc>,
    lookback: Duration,
    sync_interval: Duration,
    coverage: &Coverage,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    // a clock that was set back says nothing
    let since_whole = (now - coverage.clock).to_std().ok()?;
    let is_enough = sync_interval < WHOLE_EVERY && since_whole < WHOLE_EVERY && RECENT < lookback;
    is_enough.then(|| watermark - RECENT)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const LOOKBACK: Duration = Duration::from_secs(120);
    const LIVE: Duration = Duration::from_secs(1);

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap()
    }

    fn covered(clock: DateTime<Utc>, since: DateTime<Utc>) -> Coverage {
        Coverage {
            epoch: 1,
            xmin: 1,
            clock,
            since: Some(since),
        }
    }

    #[test]
    fn only_a_tenant_that_is_synced_often_and_was_searched_just_now_is_searched_less() {
        let known = covered(at(0), at(-120_000));
        let recent = |interval: u64, lookback: Duration, now: i64| {
            recent_only(at(500), lookback, Duration::from_secs(interval), &known, at(now))
        };
        assert_eq!(recent(1, LOOKBACK, 1_000), Some(at(-1_500)));
        assert_eq!(recent(1, LOOKBACK, 10_000), None);
        assert_eq!(recent(1, LOOKBACK, -1), None);
        assert_eq!(recent(10, LOOKBACK, 1_000), None);
        assert_eq!(recent(1, RECENT, 1_000), None);
    }

    /// Plans one after the other, some of which fail or lose what was covered. A row becomes visible up to the lookback after its time.
    #[test]
    fn a_row_with_an_early_time_is_found_a_little_later() {
        let rng = &mut StdRng::seed_from_u64(20);
        for _ in 0..300 {
            let visible = rng.random_range(20_000..60_000);
            let time = at(visible - rng.random_range(0..=120_000));
            let (mut now, mut watermark) = (0, at(0));
            let mut known = covered(at(0), at(-120_000));
            let mut found = None;
            while found.is_none() {
                now += rng.random_range(900..1_500);
                assert!(now < visible + 25_000, "{time} is not found");
                // another mapping, or a release that knows nothing of it
                let kept = (!rng.random_bool(0.1)).then_some(&known);
                let recent = kept.and_then(|known| recent_only(watermark, LOOKBACK, LIVE, known, at(now)));
                let since = recent.unwrap_or_else(|| look_back(watermark, LOOKBACK, LIVE, kept));
                if rng.random_bool(0.2) {
                    continue;
                }
                found = (visible <= now && time >= since).then_some(now);
                watermark = watermark.max(at(now - rng.random_range(0..2_000)));
                if recent.is_none() {
                    known = covered(at(now), since);
                }
            }
        }
    }
}

//! Limits wrong passwords for each account and for each peer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong passwords before a pause.
const FREE: u32 = 5;
/// The pause after the sixth; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Without another failure, failures are forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(900);
/// More accounts or peers than this at once: the oldest are forgotten first.
const MOST: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

#[derive(Debug, Default)]
pub struct Attempts {
    failures: Mutex<HashMap<String, Failures>>,
}

impl Failures {
    fn pause(&self) -> Duration {
        match self.count.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(more) => FIRST_PAUSE.saturating_mul(1 << more.min(10)).min(LONGEST_PAUSE),
        }
    }
}

impl Attempts {
    /// How long these names have to wait; `None`: not at all.
    pub fn wait(&self, names: &[&str], now: Instant) -> Option<Duration> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let left = names.iter().filter_map(|name| {
            let failed = failures.get(*name)?;
            failed.pause().checked_sub(now.duration_since(failed.last))
        });
        left.max().filter(|left| !left.is_zero())
    }

    pub fn failed(&self, names: &[&str], now: Instant) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, failed| now.duration_since(failed.last) < FORGET_AFTER);
        if failures.len() >= MOST {
            let oldest = failures.iter().min_by_key(|(_, failed)| failed.last);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                failures.remove(&name);
            }
        }
        for name in names {
            let entry = failures.entry((*name).to_owned());
            let failed = entry.or_insert(Failures { count: 0, last: now });
            failed.count = failed.count.saturating_add(1);
            failed.last = now;
        }
    }

    /// A right password ends the pause of its account; that of the peer stays.
    pub fn succeeded(&self, account: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_wrong_password_begins_a_pause_that_doubles() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for _ in 0..5 {
            attempts.failed(&["user a", "peer 1"], now);
            assert_eq!(attempts.wait(&["user a"], now), None);
        }
        attempts.failed(&["user a", "peer 1"], now);
        assert_eq!(attempts.wait(&["user a"], now), Some(Duration::from_secs(2)));
        assert_eq!(
            attempts.wait(&["user b", "peer 1"], now),
            Some(Duration::from_secs(2))
        );
        assert_eq!(attempts.wait(&["user b"], now), None);
        attempts.failed(&["user a"], now);
        assert_eq!(
            attempts.wait(&["user a"], now + Duration::from_secs(1)),
            Some(Duration::from_secs(3))
        );
        attempts.succeeded("user a");
        assert_eq!(attempts.wait(&["user a"], now), None);
        assert!(attempts.wait(&["peer 1"], now).is_some());
    }

    #[test]
    fn the_pause_has_an_end_and_the_table_has_a_bound() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for _ in 0..100 {
            attempts.failed(&["user a"], now);
        }
        assert_eq!(attempts.wait(&["user a"], now), Some(LONGEST_PAUSE));
        for number in 0..MOST + 5 {
            attempts.failed(&[&format!("peer {number}")], now);
        }
        assert!(attempts.failures.lock().unwrap().len() <= MOST + 1);
    }
}

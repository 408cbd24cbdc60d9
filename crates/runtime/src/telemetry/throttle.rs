//! The exporters' own errors come with every attempt. A collector that is away needs one line now and then.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(300);

/// Lets one event of OpenTelemetry's crates through in a while, and all others always.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    pub fn lets_through(&self, target: &str) -> bool {
        self.lets_through_at(target, Instant::now())
    }

    fn lets_through_at(&self, target: &str, now: Instant) -> bool {
        if !target.starts_with("opentelemetry") {
            return true;
        }
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.duration_since(last) >= EVERY);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exporter_is_heard_once_in_a_while_and_others_always() {
        let throttle = Throttle::default();
        let begun = Instant::now();
        let at = |target, seconds| throttle.lets_through_at(target, begun + Duration::from_secs(seconds));
        assert!(at("opentelemetry_sdk", 0));
        assert!(!at("opentelemetry_sdk", 5));
        assert!(!at("opentelemetry-otlp", 299));
        assert!(at("tidemark_worker::consume", 299));
        assert!(at("opentelemetry_sdk", 300));
        assert!(!at("opentelemetry_sdk", 301));
    }
}

//! Limits the exporters' own errors. Every failed attempt logs one, but a missing collector needs only a line now and then.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(300);

/// Passes one event of OpenTelemetry's crates in each interval, and all other events.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    pub fn passes(&self, target: &str) -> bool {
        self.passes_at(target, Instant::now())
    }

    fn passes_at(&self, target: &str, now: Instant) -> bool {
        if !target.starts_with("opentelemetry") {
            return true;
        }
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.duration_since(last) >= INTERVAL);
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
    fn an_exporter_logs_once_in_an_interval_and_others_always() {
        let throttle = Throttle::default();
        let begun = Instant::now();
        let at = |target, seconds| throttle.passes_at(target, begun + Duration::from_secs(seconds));
        assert!(at("opentelemetry_sdk", 0));
        assert!(!at("opentelemetry_sdk", 5));
        assert!(!at("opentelemetry-otlp", 299));
        assert!(at("tidemark_worker::consume", 299));
        assert!(at("opentelemetry_sdk", 300));
        assert!(!at("opentelemetry_sdk", 301));
    }
}

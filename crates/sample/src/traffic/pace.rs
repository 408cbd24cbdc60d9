//! The time of the next change, and the end of the traffic.

use std::future::pending;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, Interval, interval, sleep_until};
use tokio_util::sync::CancellationToken;

pub struct Pace {
    /// `None`: as fast as possible.
    ticks: Option<Interval>,
    /// `None`: no time limit.
    until: Option<Instant>,
}

impl Pace {
    pub fn new(rate_per_second: f64, duration: Option<Duration>) -> Result<Self> {
        ensure!(
            rate_per_second >= 0.0,
            "the rate is a number of changes a second, zero for as fast as possible"
        );
        let ticks = if rate_per_second == 0.0 {
            None
        } else {
            let period = Duration::try_from_secs_f64(rate_per_second.recip())
                .with_context(|| format!("wait between {rate_per_second} changes a second"))?;
            Some(interval(period.max(Duration::from_micros(1))))
        };
        Ok(Self {
            ticks,
            until: duration.and_then(|duration| Instant::now().checked_add(duration)),
        })
    }

    /// Waits until the next change is due. Returns `false` when the traffic ends. After slow changes it catches up.
    pub async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let until = self.until;
        let over = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        let due = async {
            if let Some(ticks) = &mut self.ticks {
                ticks.tick().await;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = over => false,
            () = due => true,
        }
    }
}

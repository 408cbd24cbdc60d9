//! The clock of one conversation: it only goes forward, and never past what counts as now.

use chrono::{NaiveDateTime, SubsecRound, TimeDelta};
use rand::{Rng, RngExt};

#[derive(Debug, Clone)]
pub struct Timeline {
    at: NaiveDateTime,
    until: NaiveDateTime,
    whole_seconds: bool,
}

impl Timeline {
    /// `whole_seconds`: this writer stores no fractions, as importers and some channels do.
    pub fn new(start: NaiveDateTime, until: NaiveDateTime, whole_seconds: bool) -> Self {
        let mut timeline = Self {
            at: start.min(until),
            until,
            whole_seconds,
        };
        timeline.at = timeline.stored(timeline.at);
        timeline
    }

    pub fn now(&self) -> NaiveDateTime {
        self.at
    }

    /// Goes on by a random time, at most `most` and half of what is left, and says what time it is.
    pub fn advance(&mut self, rng: &mut impl Rng, most: TimeDelta) -> NaiveDateTime {
        let most = most
            .min((self.until - self.at) / 2)
            .num_microseconds()
            .unwrap_or(0);
        let step = TimeDelta::microseconds(rng.random_range(0..=most.max(0)));
        self.at = self.stored(self.at + step);
        self.at
    }

    fn stored(&self, at: NaiveDateTime) -> NaiveDateTime {
        at.trunc_subsecs(if self.whole_seconds { 0 } else { 6 })
    }
}

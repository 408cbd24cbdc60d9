//! The clock of one conversation. It only moves forward, and never past the sample's current time.

use chrono::{NaiveDateTime, SubsecRound, TimeDelta};
use rand::{Rng, RngExt};

#[derive(Debug, Clone)]
pub struct Timeline {
    at: NaiveDateTime,
    until: NaiveDateTime,
    whole_seconds: bool,
}

impl Timeline {
    /// `whole_seconds`: the writer stores no fractions of seconds, like importers and some channels.
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

    /// Moves forward by a random time and returns the new time. The step is at most `most`, and at most half of the remaining
    /// time.
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

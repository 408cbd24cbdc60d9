//! Measured values. Times are only compared within one run of the benchmarks, as a ratio to the base of the case.

use serde::{Deserialize, Serialize};

/// Everything that one run of the benchmarks measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    pub command: String,
    pub machine: Vec<(String, String)>,
    pub cases: Vec<Case>,
}

/// One table: values measured in turns, on the same data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    /// The name of the case in files and on the command line.
    pub key: String,
    pub title: String,
    /// What was measured, for a reader of the table.
    pub about: String,
    pub unit: String,
    /// The name of the row that the others are compared with.
    pub base: Option<String>,
    pub rows: Vec<Row>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub runs: Vec<f64>,
    pub goal: Option<Goal>,
}

/// The value that a row should reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The value is at most this.
    AtMost(f64),
    AtLeast(f64),
    /// The ratio to the base is at most this.
    RatioAtMost(f64),
    RatioAtLeast(f64),
    /// The value is at least so many times that of another row.
    Times {
        of: String,
        at_least: f64,
    },
}

impl Case {
    #[must_use]
    pub fn new(key: &str, title: &str, about: &str, unit: &str) -> Self {
        Self {
            key: key.to_owned(),
            title: title.to_owned(),
            about: about.to_owned(),
            unit: unit.to_owned(),
            base: None,
            rows: Vec::new(),
        }
    }

    #[must_use]
    pub fn against(mut self, base: &str) -> Self {
        self.base = Some(base.to_owned());
        self
    }

    /// Adds a measurement to a row; creates the row if it is new.
    pub fn add(&mut self, name: &str, value: f64) {
        match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.runs.push(value),
            None => self.rows.push(Row {
                name: name.to_owned(),
                runs: vec![value],
                goal: None,
            }),
        }
    }

    /// Sets the goal of a row; a row without measurements gets none.
    pub fn goal(&mut self, name: &str, goal: Goal) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.name == name) {
            row.goal = Some(goal);
        }
    }

    /// A row's median divided by that of the base; `None` for a case without a base.
    #[must_use]
    pub fn ratio(&self, row: &Row) -> Option<f64> {
        self.times(row, self.base.as_ref()?)
    }

    /// True when a row reaches its goal; `None` if it has none.
    #[must_use]
    pub fn reaches(&self, row: &Row) -> Option<bool> {
        Some(match row.goal.as_ref()? {
            Goal::AtMost(limit) => row.median() <= *limit,
            Goal::AtLeast(limit) => row.median() >= *limit,
            Goal::RatioAtMost(limit) => self.ratio(row)? <= *limit,
            Goal::RatioAtLeast(limit) => self.ratio(row)? >= *limit,
            Goal::Times { of, at_least } => self.times(row, of)? >= *at_least,
        })
    }

    /// A row's median divided by that of another row; `None` if the other was not measured.
    #[must_use]
    pub fn times(&self, row: &Row, of: &str) -> Option<f64> {
        let other = self.rows.iter().find(|other| other.name == of)?;
        Some(row.median() / other.median())
    }
}

impl Row {
    #[must_use]
    pub fn median(&self) -> f64 {
        median(&self.runs)
    }

    #[must_use]
    pub fn range(&self) -> (f64, f64) {
        let least = self.runs.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (least, most)
    }
}

/// The middle value; the mean of the two middle ones for an even number of values, NaN for none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// The value that this part of the values does not exceed; NaN for none.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a position among some thousand values"
)]
pub fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = (sorted.len() as f64 * part).ceil() as usize;
    sorted
        .get(position.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// A number with three significant figures; from 100 on a whole number.
#[must_use]
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

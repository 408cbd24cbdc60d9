//! What was measured. Times are compared inside one run of the benchmarks only: a figure is a ratio to its case's base.

use serde::{Deserialize, Serialize};

/// Everything that one run of the benchmarks measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    pub command: String,
    pub machine: Vec<(String, String)>,
    pub cases: Vec<Case>,
}

/// One table: things measured in turns, on the same data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    /// Names the case in files and on the command line.
    pub key: String,
    pub title: String,
    /// What was done, for a reader of the table.
    pub about: String,
    pub unit: String,
    /// The row that the others are compared with.
    pub base: Option<String>,
    pub rows: Vec<Row>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub runs: Vec<f64>,
    pub goal: Option<Goal>,
}

/// What a row should reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Its value is at most this.
    AtMost(f64),
    AtLeast(f64),
    /// Its ratio to the base is at most this.
    RatioAtMost(f64),
    RatioAtLeast(f64),
    /// It is at least so many times another row.
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

    /// Adds one more measurement to a row, which is made when it is new.
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

    /// Says what a row should reach; a row that was not measured has no goal.
    pub fn goal(&mut self, name: &str, goal: Goal) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.name == name) {
            row.goal = Some(goal);
        }
    }

    /// A row's median over that of the base; `None` for a case without one.
    #[must_use]
    pub fn ratio(&self, row: &Row) -> Option<f64> {
        self.times(row, self.base.as_ref()?)
    }

    /// Whether a row reaches its goal; `None` when it has none.
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

    /// A row's median over that of another; `None` when that was not measured.
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

/// The middle one; of an even number the mean of the two in the middle; NaN of none.
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

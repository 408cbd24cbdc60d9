//! Writes results as JSON, and as tables and pictures of docs/benchmarks.md.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::figures::{Case, Goal, Results, Row, number};
use crate::plot;

/// The page, and the lines that enclose its tables.
const PAGE: &str = "docs/benchmarks.md";
const BEGIN: &str = "<!-- written by make bench: begin -->";
const END: &str = "<!-- written by make bench: end -->";
/// The folder of the pictures; the page refers to them from its own folder.
const IMAGES: &str = "docs/images";

impl Results {
    /// Adds the cases of earlier results that were not measured now.
    pub fn keep_unmeasured(&mut self, earlier: Self) {
        for case in earlier.cases {
            if !self.cases.iter().any(|now| now.key == case.key) {
                self.cases.push(case);
            }
        }
        let order = |case: &Case| {
            let place = ORDER.iter().position(|key| case.key.starts_with(key));
            let size: u64 = case
                .key
                .rsplit('-')
                .next()
                .and_then(|size| size.parse().ok())
                .unwrap_or(0);
            (place, size, case.key.clone())
        };
        self.cases.sort_by_key(order);
    }
}

/// The order of the cases on the page, by the beginnings of their keys.
const ORDER: [&str; 12] = [
    "full",
    "view",
    "incremental",
    "freshness",
    "far",
    "fleet",
    "planning",
    "dispatch",
    "memory",
    "load",
    "batches",
    "transform",
];

pub fn read(file: &Path) -> Result<Results> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} holds no results", file.display()))
}

/// Writes the results, the tables and the pictures. The working directory must be the root of the repository.
pub fn write(file: &Path, results: &Results) -> Result<()> {
    fs::create_dir_all(file.parent().unwrap_or(Path::new("."))).context("make the folder of results")?;
    fs::create_dir_all(IMAGES).context("make the folder of pictures")?;
    fs::write(file, serde_json::to_string_pretty(results)? + "\n")?;
    let page = fs::read_to_string(PAGE).context("read the page of benchmarks")?;
    let (before, rest) = page
        .split_once(BEGIN)
        .context("the page has no place for tables")?;
    let (_, after) = rest.split_once(END).context("the place for tables has no end")?;
    let mut tables = facts(results);
    for case in &results.cases {
        tables.push_str(&table(case));
        if let Some(picture) = plot::bar_chart(case)? {
            let name = format!("bench-{}.svg", case.key);
            fs::write(Path::new(IMAGES).join(&name), picture)?;
            writeln!(tables, "\n![{}](images/{name})", case.title)?;
        }
    }
    fs::write(PAGE, format!("{before}{BEGIN}\n{tables}\n{END}{after}"))?;
    Ok(())
}

fn facts(results: &Results) -> String {
    let mut text = format!("\nBy `{}`, on\n\n| | |\n|---|---|\n", results.command);
    for (name, value) in &results.machine {
        text.push_str(&format!("| {name} | {value} |\n"));
    }
    text
}

fn table(case: &Case) -> String {
    let mut text = format!("\n### {}\n\n{}\n\n", case.title, case.about);
    let against = case
        .base
        .as_deref()
        .map_or(String::new(), |base| format!("of “{base}”"));
    text.push_str(&format!(
        "| | median, {} | least – most | {against} | goal |\n|---|---|---|---|---|\n",
        case.unit
    ));
    for row in &case.rows {
        text.push_str(&line(case, row));
    }
    text
}

fn line(case: &Case, row: &Row) -> String {
    let (least, most) = row.range();
    let range = match row.runs.len() {
        1 => "once".to_owned(),
        count => format!("{} – {} ({count} ×)", number(least), number(most)),
    };
    let ratio = case
        .ratio(row)
        .map_or(String::new(), |ratio| format!("{ratio:.2}"));
    let goal = match &row.goal {
        None => String::new(),
        Some(Goal::AtMost(limit)) => format!("≤ {limit} {}", case.unit),
        Some(Goal::AtLeast(limit)) => format!("≥ {limit} {}", case.unit),
        Some(Goal::RatioAtMost(limit)) => format!("≤ {limit} of it"),
        Some(Goal::RatioAtLeast(limit)) => format!("≥ {limit} of it"),
        Some(Goal::Times { of, at_least }) => {
            let is = case
                .times(row, of)
                .map_or(String::new(), |times| format!(" (is {times:.1})"));
            format!("≥ {at_least} × “{of}”{is}")
        }
    };
    let reached = match case.reaches(row) {
        None => "",
        Some(true) => ": reached",
        Some(false) => ": **missed**",
    };
    format!(
        "| {} | {} | {range} | {ratio} | {goal}{reached} |\n",
        row.name,
        number(row.median())
    )
}

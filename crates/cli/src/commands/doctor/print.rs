//! Prints the report of the doctor.

use tidemark_operations::doctor::report::{DoctorReport, Group};
use tidemark_runtime::finding::{Finding, Level, counted};

use crate::output::{self, Colour};

const WIDTH: usize = 80;
const INDENT: usize = 14;

pub fn report(report: &DoctorReport, json: bool, quiet: bool) -> anyhow::Result<()> {
    if json {
        return output::json(report);
    }
    groups(&report.groups, quiet)?;
    let count = |level| report.levels().filter(|other| *other == level).count();
    output::line(format!(
        "{}, {}, {} not checked, {} ok",
        counted(count(Level::Error), "error"),
        counted(count(Level::Warning), "warning"),
        count(Level::NotChecked),
        count(Level::Ok)
    ))
}

/// Prints the findings of each group; `quiet`: only warnings and errors.
pub fn groups(groups: &[Group], quiet: bool) -> anyhow::Result<()> {
    for group in groups {
        let shown: Vec<&Finding> = group
            .findings
            .iter()
            .filter(|finding| !quiet || finding.level > Level::NotChecked)
            .collect();
        if shown.is_empty() {
            continue;
        }
        output::line(match &group.server {
            Some(server) => format!("{}  {server}", group.group),
            None => group.group.to_string(),
        })?;
        for finding in shown {
            print(finding)?;
        }
        output::line("")?;
    }
    Ok(())
}

fn print(finding: &Finding) -> anyhow::Result<()> {
    let (word, colour) = match finding.level {
        Level::Ok => ("ok", Colour::Green),
        Level::NotChecked => ("not checked", Colour::Plain),
        Level::Warning => ("warning", Colour::Yellow),
        Level::Error => ("error", Colour::Red),
    };
    let text = format!("{}: {}", finding.check, finding.found);
    for (index, line) in wrapped(&text, WIDTH - INDENT).into_iter().enumerate() {
        let head = match index {
            0 => output::coloured(&format!("  {word:<width$}", width = INDENT - 2), colour),
            _ => " ".repeat(INDENT),
        };
        output::line(format!("{head}{line}"))?;
    }
    for command in &finding.todo {
        // not wrapped, so that it can be copied
        output::line(format!("{}$ {command}", " ".repeat(INDENT)))?;
    }
    Ok(())
}

/// Wraps at whole words; a longer word gets a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_of_whole_words_and_not_longer_than_asked() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a extraordinarily b", 5), ["a", "extraordinarily", "b"]);
        assert!(wrapped("", 5).is_empty());
    }
}

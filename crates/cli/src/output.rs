//! Prints data on stdout and everything else on stderr. Nothing else prints.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde::Serialize;
use tidemark_postgres::report::report;

/// Prints a JSON document.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    bytes(&text)
}

/// Prints a JSON document on one line.
pub fn json_line(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    bytes(&text)
}

/// Prints a line of data.
pub fn line(text: impl AsRef<str>) -> anyhow::Result<()> {
    bytes(format!("{}\n", text.as_ref()).as_bytes())
}

/// Prints data as it is.
///
/// # Errors
/// [`ReaderGone`] when stdout is closed, which is no failure.
pub fn bytes(data: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(data)
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => ReaderGone.into(),
            _ => anyhow::Error::new(error).context("write the answer to stdout"),
        })
}

/// The reader of stdout, such as `head`, has closed it.
#[derive(Debug, thiserror::Error)]
#[error("stdout is closed")]
pub struct ReaderGone;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Plain,
    Green,
    Yellow,
    Red,
}

/// Colours the text if stdout is a terminal.
pub fn coloured(text: &str, colour: Colour) -> String {
    let code = match colour {
        Colour::Green => 32,
        Colour::Yellow => 33,
        Colour::Red => 31,
        Colour::Plain => return text.to_owned(),
    };
    if std::io::stdout().is_terminal() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Prints a note on stderr.
pub fn note(text: impl AsRef<str>) {
    stderr_line(text.as_ref());
}

/// Notes how to get the next part of a list, when there is one.
pub fn note_next(shown: usize, next: Option<impl Display>, what: &str, flag: &str) {
    if let Some(next) = next {
        let shown = count(i64::try_from(shown).unwrap_or(i64::MAX));
        note(format!(
            "the first {shown} {what}; more with --limit, or with {flag} {next}"
        ));
    }
}

/// Prints an error with its causes on stderr.
pub fn error(error: &anyhow::Error) {
    stderr_line(&format!("error: {}", report(error.as_ref())));
}

/// Ignores a closed stderr.
fn stderr_line(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Prints a table. The columns in `numbers` are aligned to the right. On a terminal that is too narrow for whole words,
/// each row becomes a paragraph.
pub fn table(header: &[&str], numbers: &[usize], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(header);
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        let widths = word_widths(header, &rows);
        if table
            .width()
            .is_some_and(|width| total_width(&widths) > usize::from(width))
            && !rows.is_empty()
        {
            return line(paragraphs(header, &rows));
        }
        table.set_constraints(widths.into_iter().map(|width| {
            let width = u16::try_from(width).unwrap_or(u16::MAX);
            // with the space between two columns
            ColumnConstraint::LowerBoundary(Width::Fixed(width.saturating_add(2)))
        }));
    }
    table.add_rows(rows);
    for index in numbers {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    line(table.trim_fmt())
}

/// The width that each column needs for whole words; longer words than a timestamp may be split.
fn word_widths(header: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    const LONG: usize = 20;
    let longest = |text: &str| {
        let words = text.split_whitespace().map(|word| word.chars().count());
        words.max().unwrap_or_default().min(LONG)
    };
    let mut widths: Vec<usize> = header.iter().map(|name| longest(name)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(longest(cell));
        }
    }
    widths
}

/// Adds a blank on both sides of each column, a line between columns, and the borders.
fn total_width(columns: &[usize]) -> usize {
    columns.iter().map(|width| width + 3).sum::<usize>() + 1
}

/// Prints each row as lines of name and value; empty values are left out.
fn paragraphs(header: &[&str], rows: &[Vec<String>]) -> String {
    let widest = header
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or_default();
    let paragraph = |row: &Vec<String>| {
        let cells = header
            .iter()
            .zip(row)
            .filter(|(_, value)| !value.is_empty() && *value != "-");
        let lines: Vec<String> = cells
            .map(|(name, value)| format!("{name:widest$}   {value}"))
            .collect();
        lines.join("\n")
    };
    rows.iter().map(paragraph).collect::<Vec<_>>().join("\n\n")
}

/// `1234567` as `1,234,567`.
pub fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An instant to the second, `-` for none.
pub fn time(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| time.to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}

/// Milliseconds as `950ms`, `12.3s`, `4m 5s`.
pub fn duration_ms(milliseconds: i64) -> String {
    match milliseconds {
        ..1_000 => format!("{milliseconds}ms"),
        1_000..60_000 => format!("{}.{}s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        _ => format!("{}m {}s", milliseconds / 60_000, milliseconds % 60_000 / 1_000),
    }
}

/// A duration in its two largest units: `42s`, `3m 5s`, `2h 10m`, `4d 3h`.
pub fn age(age: TimeDelta) -> String {
    let seconds = age.num_seconds().max(0);
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_are_formatted_for_people() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(-1_234_567), "-1,234,567");
        assert_eq!(duration_ms(950), "950ms");
        assert_eq!(duration_ms(12_345), "12.3s");
        assert_eq!(duration_ms(245_000), "4m 5s");
        let ages = [-5, 42, 185, 7_800, 356_400].map(|seconds| age(TimeDelta::seconds(seconds)));
        assert_eq!(ages, ["0s", "42s", "3m 5s", "2h 10m", "4d 3h"]);
    }

    #[test]
    fn words_stay_whole_and_rows_become_paragraphs_without_room() {
        let header = ["run", "error"];
        let row = |run: &str, error: &str| vec![run.to_owned(), error.to_owned()];
        let rows = [
            row("1847", "a constraint of conversations_analytics"),
            row("3", "-"),
        ];
        let widths = word_widths(&header, &rows);
        assert_eq!(widths, [4, 20]);
        assert_eq!(total_width(&widths), 31);
        assert_eq!(
            paragraphs(&header, &rows),
            "run     1847\nerror   a constraint of conversations_analytics\n\nrun     3"
        );
    }
}

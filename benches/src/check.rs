//! Compares results with the committed ones.

use anyhow::{Result, ensure};

use crate::figures::{Case, Goal, Results, Row};

/// How much worse a ratio may become: repeated runs on a quiet machine differ by up to a tenth, and the committed
/// results may come from another machine.
pub const BAND: f64 = 0.20;

/// Compares every ratio to a base that both results have.
///
/// # Errors
/// Fails when a ratio is worse than the committed one by more than `BAND`, or when there is nothing to compare.
pub fn compare(committed: &Results, now: &Results) -> Result<()> {
    let mut worse = Vec::new();
    let mut count = 0;
    for case in &now.cases {
        let Some(before) = committed.cases.iter().find(|before| before.key == case.key) else {
            continue;
        };
        for row in &case.rows {
            let Some((was, is)) = ratios(before, case, row) else {
                continue;
            };
            count += 1;
            let change = if more_is_better(case, row) {
                was / is
            } else {
                is / was
            };
            eprintln!(
                "{:28} {:48} {was:8.3} {is:8.3} {:+6.1} %",
                case.key,
                row.name,
                (change - 1.0) * 100.0
            );
            if change > 1.0 + BAND {
                worse.push(format!("{}, {}: {was:.3} has become {is:.3}", case.key, row.name));
            }
        }
    }
    ensure!(count > 0, "no ratio to compare");
    ensure!(
        worse.is_empty(),
        "worse than the committed results by more than {:.0} %:\n{}",
        BAND * 100.0,
        worse.join("\n")
    );
    Ok(())
}

/// The committed ratio and the new one; `None` for the base itself, and for rows that only one of the results has.
fn ratios(before: &Case, now: &Case, row: &Row) -> Option<(f64, f64)> {
    if now.base.as_deref() == Some(&row.name) {
        return None;
    }
    let there = before.rows.iter().find(|there| there.name == row.name)?;
    // this check leaves out what other programs do
    if !is_ours(row) {
        return None;
    }
    Some((before.ratio(there)?, now.ratio(row)?))
}

fn is_ours(row: &Row) -> bool {
    !["psql", "old way", "COPY", "UNNEST", "stage", "upsert"]
        .iter()
        .any(|other| row.name.starts_with(other))
}

fn more_is_better(case: &Case, row: &Row) -> bool {
    matches!(row.goal, Some(Goal::RatioAtLeast(_) | Goal::AtLeast(_))) || case.unit.ends_with("/s")
}

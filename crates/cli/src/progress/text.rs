//! The text of a run's progress. Pure.

use chrono::TimeDelta;
use tidemark_shared::progress::{Progress, SlowChunk};
use tidemark_shared::run::{RunReport, RunStatus};

use crate::output::{age, count, duration_ms};

/// `tenant 1 full`
pub fn name(run: &RunReport) -> String {
    format!("tenant {} {}", run.tenant_id, run.run_type.as_str())
}

/// The text after a bar: `12 of 40 chunks, 12,000 rows, 1,234 rows/s, 23s left`.
pub fn headline(run: &RunReport, progress: Option<&Progress>) -> String {
    let mut parts = Vec::new();
    if run.chunks.total > 0 {
        let ended = run.chunks.done + run.chunks.dead;
        parts.push(format!(
            "{} of {} chunks",
            count(ended.into()),
            count(run.chunks.total.into())
        ));
        parts.push(format!("{} rows", count(run.records.extracted)));
    }
    let open = progress.filter(|_| run.status == RunStatus::Running);
    if let Some(pace) = open.and_then(|progress| progress.pace) {
        parts.push(format!("{} rows/s", rate(pace.rows_per_second)));
        if let Some(eta) = pace.eta_ms {
            parts.push(format!("{} left", age(TimeDelta::milliseconds(eta))));
        }
    }
    if run.status != RunStatus::Running {
        parts.push(run.status.as_str().to_owned());
    }
    parts.join(", ")
}

/// The lines below a bar, each with its name.
pub fn details(progress: &Progress, held_by: Option<&str>) -> Vec<(&'static str, String)> {
    let mut lines = vec![("chunks", chunks(progress))];
    let slowest = slowest(progress);
    if !slowest.is_empty() {
        lines.push(("slowest", slowest));
    }
    lines.push(("source", source(progress)));
    if let Some(held_by) = held_by {
        lines.push(("held by", held_by.to_owned()));
    }
    lines
}

/// The line where bars cannot be drawn.
pub fn line(run: &RunReport, progress: Option<&Progress>, held_by: Option<&str>) -> String {
    let mut parts = vec![format!(
        "run {} ({}): {}",
        run.run_id,
        name(run),
        headline(run, progress)
    )];
    if let Some(progress) = progress.filter(|_| run.status == RunStatus::Running) {
        parts.push(chunks(progress));
        parts.push(source(progress));
    }
    if let Some(held_by) = held_by {
        parts.push(format!("held by {held_by}"));
    }
    parts.join("; ")
}

/// Several runs in one line: `37 of 120 runs have ended, 123,456 rows, 12,000 rows/s`.
pub fn summary(runs: &[RunReport], progress: &[Progress]) -> String {
    let ended = runs.iter().filter(|run| run.status.is_terminal()).count();
    let rows: i64 = runs.iter().map(|run| run.records.extracted).sum();
    let paces = || progress.iter().filter_map(|progress| progress.pace);
    let mut text = format!("{ended} of {} runs have ended, {} rows", runs.len(), count(rows));
    let pace: f64 = paces().map(|pace| pace.rows_per_second).sum();
    if ended < runs.len() && paces().next().is_some() {
        text.push_str(&format!(", {} rows/s", rate(pace)));
    }
    let troubled = runs
        .iter()
        .filter(|run| matches!(run.status, RunStatus::Failed | RunStatus::Cancelled))
        .count();
    if troubled > 0 {
        text.push_str(&format!(", {troubled} failed"));
    }
    text
}

fn chunks(progress: &Progress) -> String {
    let states = &progress.chunks;
    let mut parts: Vec<String> = [
        (states.pending, "pending"),
        (states.queued, "queued"),
        (states.running, "running"),
        (states.done, "done"),
        (states.dead, "dead"),
        (states.cancelled, "cancelled"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, state)| format!("{} {state}", count(number)))
    .collect();
    if parts.is_empty() {
        parts.push("none yet".to_owned());
    }
    if progress.failed_attempts > 0 {
        parts.push(format!("{} attempts failed", count(progress.failed_attempts)));
    }
    if progress.lost_leases > 0 {
        parts.push(format!("{} leases lost", count(progress.lost_leases)));
    }
    parts.join(", ")
}

fn slowest(progress: &Progress) -> String {
    let chunk = |chunk: &SlowChunk, verb: &str| {
        let attempt = if chunk.attempt > 1 {
            format!(" (attempt {})", chunk.attempt)
        } else {
            String::new()
        };
        format!(
            "{}/{} {verb} {}{attempt}",
            progress.run_id,
            chunk.seq,
            duration_ms(chunk.took_ms.max(0))
        )
    };
    let running = progress.slowest_running.as_ref().map(|running| {
        let worker = running.worker_id.as_ref().map(|worker| format!(" by {worker}"));
        format!("{}{}", chunk(running, "running for"), worker.unwrap_or_default())
    });
    let done = progress.slowest_done.as_ref().map(|done| chunk(done, "done in"));
    running.into_iter().chain(done).collect::<Vec<_>>().join("; ")
}

fn source(progress: &Progress) -> String {
    let share = &progress.source;
    let limit = share.max_in_flight.map(|limit| format!(" of {limit}"));
    format!(
        "{}: {} in flight by this run, {}{} by all, {} sessions",
        share.name,
        share.run_in_flight,
        share.in_flight,
        limit.unwrap_or_default(),
        share.sessions
    )
}

#[expect(clippy::cast_possible_truncation, reason = "a cast of floats saturates")]
fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        return format!("{per_second:.1}");
    }
    count(per_second.round() as i64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::DateTime;
    use tidemark_shared::ids::{RunId, TenantId};
    use tidemark_shared::progress::{ChunkStates, Pace, SourceShare};
    use tidemark_shared::run::{ChunkTotals, RecordTotals, RunType};

    use super::*;

    fn run(status: RunStatus) -> RunReport {
        RunReport {
            verification: None,
            run_id: RunId(18),
            tenant_id: TenantId(1),
            run_type: RunType::Full,
            status,
            watermark_start: None,
            watermark_end: None,
            chunks: ChunkTotals {
                total: 40,
                done: 11,
                dead: 1,
            },
            records: RecordTotals {
                extracted: 12_000,
                ..RecordTotals::default()
            },
            signals: BTreeMap::new(),
            triggered_by: "test".to_owned(),
            reason: None,
            request: serde_json::Value::Null,
            started_at: None,
            requested_at: DateTime::UNIX_EPOCH,
            finished_at: None,
            duration_ms: 14_000,
            trace_id: None,
            warnings: Vec::new(),
            error: None,
        }
    }

    fn progress() -> Progress {
        Progress {
            run_id: RunId(18),
            at: DateTime::UNIX_EPOCH,
            chunks: ChunkStates {
                pending: 22,
                queued: 2,
                running: 4,
                done: 11,
                dead: 1,
                cancelled: 0,
            },
            keys_total: 40_000,
            keys_ended: 12_000,
            pace: Some(Pace {
                rows_per_second: 1234.4,
                eta_ms: Some(23_000),
            }),
            slowest_running: Some(SlowChunk {
                seq: 7,
                attempt: 2,
                worker_id: Some("host/worker/1".into()),
                took_ms: 14_200,
            }),
            slowest_done: Some(SlowChunk {
                seq: 3,
                attempt: 1,
                worker_id: None,
                took_ms: 900,
            }),
            failed_attempts: 1,
            lost_leases: 0,
            source: SourceShare {
                name: "main".into(),
                run_in_flight: 6,
                in_flight: 9,
                max_in_flight: Some(32),
                sessions: 5,
            },
        }
    }

    #[test]
    fn a_running_run_shows_its_pace_and_the_time_left() {
        let text = headline(&run(RunStatus::Running), Some(&progress()));
        assert_eq!(text, "12 of 40 chunks, 12,000 rows, 1,234 rows/s, 23s left");
        let ended = headline(&run(RunStatus::Failed), Some(&progress()));
        assert_eq!(ended, "12 of 40 chunks, 12,000 rows, failed");
        let mut asked = run(RunStatus::Requested);
        asked.chunks = ChunkTotals::default();
        assert_eq!(headline(&asked, None), "requested");
    }

    #[test]
    fn the_lines_below_name_chunks_the_slowest_and_the_share_of_the_source() {
        let lines: Vec<String> = details(&progress(), Some("no worker"))
            .into_iter()
            .map(|(name, text)| format!("{name}: {text}"))
            .collect();
        assert_eq!(
            lines,
            [
                "chunks: 22 pending, 2 queued, 4 running, 11 done, 1 dead, 1 attempts failed",
                "slowest: 18/7 running for 14.2s (attempt 2) by host/worker/1; 18/3 done in 900ms",
                "source: main: 6 in flight by this run, 9 of 32 by all, 5 sessions",
                "held by: no worker",
            ]
        );
    }

    #[test]
    fn one_line_has_everything() {
        let text = line(&run(RunStatus::Running), Some(&progress()), None);
        assert!(
            text.starts_with("run 18 (tenant 1 full): 12 of 40 chunks") && text.ends_with("5 sessions"),
            "{text}"
        );
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn several_runs_are_summed() {
        let runs = [run(RunStatus::Running), run(RunStatus::Failed)];
        assert_eq!(
            summary(&runs, &[progress()]),
            "1 of 2 runs have ended, 24,000 rows, 1,234 rows/s, 1 failed"
        );
    }

    #[test]
    fn a_slow_rate_keeps_a_digit_behind_the_point() {
        assert_eq!([rate(0.25), rate(9.96), rate(10.4)], ["0.2", "10.0", "10"]);
    }
}

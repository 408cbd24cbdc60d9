//! Draws a bar for each run on a terminal, and details below the bar of a single run.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tidemark_operations::run_watch::RunLook;
use tidemark_shared::ids::RunId;
use tidemark_shared::run::RunReport;

use super::text;

/// Most bars at a time; a terminal has few lines.
const BARS: usize = 12;
const TICK: Duration = Duration::from_millis(250);

pub struct Bars {
    all: MultiProgress,
    by_run: RefCell<HashMap<RunId, ProgressBar>>,
    /// The lines below the bars.
    lines: RefCell<Vec<ProgressBar>>,
}

impl Bars {
    pub fn new() -> Self {
        Self {
            all: MultiProgress::new(),
            by_run: RefCell::default(),
            lines: RefCell::default(),
        }
    }

    pub fn show(&self, look: &RunLook) {
        let single = look.runs.len() == 1;
        for run in &look.runs {
            self.bar(run, look, single);
        }
        let lines = if single {
            let below = |progress| text::details(progress, look.held_by.as_deref());
            let lines = look.progress.first().map(below).unwrap_or_default();
            let named = |(name, text): (&str, String)| format!("  {name:8} {text}");
            lines.into_iter().map(named).collect()
        } else {
            vec![text::summary(&look.runs, &look.progress)]
        };
        self.below(&lines);
    }

    fn bar(&self, run: &RunReport, look: &RunLook, single: bool) {
        let mut bars = self.by_run.borrow_mut();
        let bar = match bars.get(&run.run_id) {
            Some(bar) => bar,
            None if run.status.is_terminal() && !single => return,
            None => {
                let open = bars.values().filter(|bar| !bar.is_finished()).count();
                if open >= BARS {
                    return;
                }
                let bar = self.all.insert(bars.len(), bar());
                // a bar that ticks before it is inserted leaves a line behind
                bar.enable_steady_tick(TICK);
                bars.entry(run.run_id).or_insert(bar)
            }
        };
        if bar.is_finished() {
            return;
        }
        let progress = look
            .progress
            .iter()
            .find(|progress| progress.run_id == run.run_id);
        bar.set_prefix(text::name(run));
        // a bar of length zero is drawn full
        let is_planned = run.chunks.total > 0 || run.status.is_terminal();
        bar.set_length(
            u64::try_from(run.chunks.total)
                .unwrap_or_default()
                .max(u64::from(!is_planned)),
        );
        bar.set_position(u64::try_from(run.chunks.done + run.chunks.dead).unwrap_or_default());
        bar.set_message(text::headline(run, progress));
        if run.status.is_terminal() {
            // with many runs, ended bars make room
            if look.runs.len() > BARS {
                bar.finish_and_clear();
                self.all.remove(bar);
            } else {
                bar.abandon();
            }
        }
    }

    fn below(&self, texts: &[String]) {
        let mut lines = self.lines.borrow_mut();
        while lines.len() < texts.len() {
            let line = self.all.add(ProgressBar::new(0).with_style(plain()));
            lines.push(line);
        }
        for (index, line) in lines.iter().enumerate() {
            line.set_message(texts.get(index).cloned().unwrap_or_default());
            line.tick();
        }
    }

    pub fn note(&self, text: &str) {
        // a terminal error is no reason to stop
        drop(self.all.println(text));
    }

    /// Keeps the bars as they are, and removes the lines below them.
    pub fn finish(&self) {
        for line in self.lines.borrow().iter() {
            line.finish_and_clear();
        }
        for bar in self.by_run.borrow().values() {
            bar.abandon();
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:22} {bar:24.cyan/dim} {wide_msg}")
        .expect("the template is valid");
    ProgressBar::new(0).with_style(style)
}

fn plain() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg}").expect("the template is valid")
}

//! The machine that was measured.

use std::fs::read_to_string;

use anyhow::{Context, Result};

/// Names and values for the head of the report, the server's facts last.
pub fn facts(server: Vec<(String, String)>) -> Result<Vec<(String, String)>> {
    let cpu = read_to_string("/proc/cpuinfo").context("ask for the processors")?;
    let model = value(&cpu, "model name").unwrap_or("unknown");
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let memory = read_to_string("/proc/meminfo").context("ask for the memory")?;
    let kib: u64 = value(&memory, "MemTotal")
        .and_then(|total| total.trim_end_matches(" kB").parse().ok())
        .unwrap_or_default();
    let kernel = read_to_string("/proc/sys/kernel/osrelease").context("ask for the kernel")?;
    let load = read_to_string("/proc/loadavg").context("ask for the load")?;
    let mut facts = vec![
        ("processor".to_owned(), format!("{cores} × {model}")),
        ("memory".to_owned(), format!("{} GB", kib * 1024 / 1_000_000_000)),
        ("kernel".to_owned(), kernel.trim().to_owned()),
        (
            "load before".to_owned(),
            load.split_whitespace().next().unwrap_or_default().to_owned(),
        ),
    ];
    facts.extend(server);
    Ok(facts)
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))
        .map(str::trim)
}

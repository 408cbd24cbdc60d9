//! Resource usage of this process, under the usual names of Prometheus clients. Read from `/proc` for each scrape.

use std::fs;

use opentelemetry::metrics::Meter;

use crate::metrics::{PROCESS_CPU, PROCESS_FDS, PROCESS_MAX_FDS, PROCESS_RESIDENT, PROCESS_START};

/// Reads one number; `None` without `/proc`.
type Read = fn() -> Option<f64>;

pub(super) fn observe(meter: &Meter) {
    meter
        .f64_observable_counter(PROCESS_CPU)
        .with_description("Processor time, user and system.")
        .with_callback(|now| {
            if let Some(seconds) = cpu_seconds() {
                now.observe(seconds, &[]);
            }
        })
        .build();
    let gauges: [(&str, &str, Read); 4] = [
        (
            PROCESS_START,
            "When the process started, since the epoch.",
            start_seconds,
        ),
        (PROCESS_RESIDENT, "Resident memory.", resident_bytes),
        (PROCESS_FDS, "Open file descriptors.", open_fds),
        (PROCESS_MAX_FDS, "File descriptors that may be open.", max_fds),
    ];
    for (name, description, read) in gauges {
        meter
            .f64_observable_gauge(name)
            .with_description(description)
            .with_callback(move |now| {
                if let Some(value) = read() {
                    now.observe(value, &[]);
                }
            })
            .build();
    }
}

/// A field of `/proc/self/stat`, numbered as in proc(5). The name in field 2 may contain spaces.
fn stat(field: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(field - 3)?.parse().ok()
}

fn ticks_per_second() -> f64 {
    // Linux uses 100 on every architecture
    u32::try_from(rustix::param::clock_ticks_per_second()).map_or(100.0, f64::from)
}

fn cpu_seconds() -> Option<f64> {
    Some((stat(14)? + stat(15)?) / ticks_per_second())
}

fn start_seconds() -> Option<f64> {
    let kernel = fs::read_to_string("/proc/stat").ok()?;
    let booted = kernel.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(booted.trim().parse::<f64>().ok()? + stat(22)? / ticks_per_second())
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = resident.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn open_fds() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn every_value_of_this_process_is_read() {
        assert!(cpu_seconds().is_some());
        assert!(start_seconds().is_some_and(|seconds| seconds > 1.0e9));
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000.0));
        assert!(open_fds().is_some_and(|count| count > 2.0));
        assert!(max_fds().is_some_and(|count| count > 2.0));
    }
}

//! What this process uses, by the names that every Prometheus client uses for it. Read from `/proc` when it is asked for.

use std::fs;

use opentelemetry::metrics::Meter;

use crate::metrics::{PROCESS_CPU, PROCESS_FDS, PROCESS_MAX_FDS, PROCESS_RESIDENT, PROCESS_START};

pub(super) fn observe(meter: &Meter) {
    meter
        .f64_observable_counter(PROCESS_CPU)
        .with_description("Processor time, user and system.")
        .with_callback(|now| {
            cpu_seconds()
                .into_iter()
                .for_each(|seconds| now.observe(seconds, &[]))
        })
        .build();
    meter
        .f64_observable_gauge(PROCESS_START)
        .with_description("When the process started, since the epoch.")
        .with_callback(|now| {
            start_seconds()
                .into_iter()
                .for_each(|seconds| now.observe(seconds, &[]))
        })
        .build();
    meter
        .u64_observable_gauge(PROCESS_RESIDENT)
        .with_description("Resident memory.")
        .with_callback(|now| {
            resident_bytes()
                .into_iter()
                .for_each(|bytes| now.observe(bytes, &[]))
        })
        .build();
    meter
        .u64_observable_gauge(PROCESS_FDS)
        .with_description("Open file descriptors.")
        .with_callback(|now| open_fds().into_iter().for_each(|count| now.observe(count, &[])))
        .build();
    meter
        .u64_observable_gauge(PROCESS_MAX_FDS)
        .with_description("File descriptors that may be open.")
        .with_callback(|now| max_fds().into_iter().for_each(|count| now.observe(count, &[])))
        .build();
}

/// Field of `/proc/self/stat`, numbered as in proc(5). The name in field 2 may hold blanks.
fn stat(field: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(field - 3)?.parse().ok()
}

fn ticks_per_second() -> f64 {
    // the kernel has 100 everywhere
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

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = resident.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn open_fds() -> Option<u64> {
    u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

fn max_fds() -> Option<u64> {
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
    fn this_process_is_described() {
        assert!(cpu_seconds().is_some());
        assert!(start_seconds().is_some_and(|seconds| seconds > 1.0e9));
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(open_fds().is_some_and(|count| count > 2));
        assert!(max_fds().is_some_and(|count| count > 2));
    }
}

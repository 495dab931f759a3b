//! What the process uses.

use std::time::Duration;

use cpu_time::ProcessTime;

/// CPU time since the process began.
pub(crate) fn cpu() -> Duration {
    ProcessTime::now().as_duration()
}

/// Resident memory in bytes, where the system has `/proc`.
pub(crate) fn memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024.0)
}

//! What the process uses, as far as the system tells.

use std::fs;
use std::time::Duration;

use cpu_time::ProcessTime;

/// CPU time since the process began.
#[must_use]
pub fn cpu() -> Duration {
    ProcessTime::now().as_duration()
}

/// Resident memory in bytes, where the system has `/proc`.
#[must_use]
pub fn memory() -> Option<f64> {
    let bytes = bytes(&status(), "VmRSS:");
    (bytes > 0).then_some(bytes as f64)
}

/// What the process has used.
#[derive(Debug)]
pub struct Usage {
    /// CPU time since it began.
    pub cpu: Duration,
    /// Resident, bytes; 0 without `/proc`.
    pub memory: u64,
    /// The most that was resident, bytes.
    pub memory_peak: u64,
    /// Datagrams that the system dropped because a socket of the process was full.
    pub kernel_drops: u64,
}

impl Usage {
    /// As of now.
    #[must_use]
    pub fn now() -> Self {
        let status = status();
        Self {
            cpu: cpu(),
            memory: bytes(&status, "VmRSS:"),
            memory_peak: bytes(&status, "VmHWM:"),
            kernel_drops: kernel_drops(),
        }
    }
}

fn status() -> String {
    fs::read_to_string("/proc/self/status").unwrap_or_default()
}

fn bytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: u64 = number.and_then(|it| it.parse().ok()).unwrap_or(0);
    kibibytes << 10
}

/// The last column of `/proc/net/udp`, of our sockets.
fn kernel_drops() -> u64 {
    let descriptors = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let inodes: Vec<String> = descriptors
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            let socket = target.to_str()?.strip_prefix("socket:[")?;
            Some(socket.trim_end_matches(']').to_owned())
        })
        .collect();
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(fs::read_to_string);
    let lines = tables.iter().flatten().flat_map(|table| table.lines());
    let drops = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let inode = words.nth(9)?;
        let is_ours = inodes.iter().any(|it| it == inode);
        is_ours.then(|| words.last()?.parse::<u64>().ok())?
    });
    drops.sum()
}

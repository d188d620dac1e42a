//! What a process has used, as Linux tells it in /proc.

use std::{fs, time::Duration};

/// The unit of times in /proc is a hundredth of a second to user space, whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);

/// CPU time, of user and system together, that a process has used so far; none where there is no /proc.
pub(super) fn cpu(process: &str) -> Duration {
    fs::read_to_string(format!("/proc/{process}/stat")).map(|stat| of_stat(&stat)).unwrap_or_default()
}

/// The fields 14 and 15. The second, a name in brackets, may hold blanks and brackets itself.
fn of_stat(stat: &str) -> Duration {
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u32 = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
    TICK * ticks
}

/// A line of a process's status that is in KiB (`VmRSS`, `VmHWM`), in bytes.
pub(super) fn status(process: &str, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = value.and_then(|value| value.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_hides_no_field() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 7 8 20 0 1 0 100 1000 10";

        assert_eq!(of_stat(stat), Duration::from_secs(2));
    }
}

//! What processes have used, as Linux tells it in /proc. Elsewhere everything is zero.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::Path,
    time::Duration,
};

/// The unit of times in /proc is a hundredth of a second to user space, whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);

/// CPU time, of user and system together, that a process has used so far.
pub(super) fn cpu(process: &str) -> Duration {
    stat(&format!("/proc/{process}/stat")).map(|stat| stat.own).unwrap_or_default()
}

/// CPU time that all processes together have used since the machine was started.
pub(super) fn cpu_of_machine() -> Duration {
    fs::read_to_string("/proc/stat").map(|stat| busy(&stat)).unwrap_or_default()
}

/// All of the first line but waiting (the fourth and fifth number), and what guests used, which is in the others already.
fn busy(stat: &str) -> Duration {
    let numbers = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let numbers: Vec<u32> = numbers.map_while(|number| number.parse().ok()).collect();
    TICK * numbers.iter().enumerate().filter(|(place, _)| ![3, 4].contains(place) && *place < 8).map(|(_, n)| n).sum()
}

/// CPU time of each of a process's threads that live, by their names without numbers, to the nanosecond where the kernel tells it;
/// the first one is called `main`. `ended` is what the others have used.
pub(super) fn cpu_by_thread(process: &str) -> BTreeMap<String, Duration> {
    let (first, mut threads) = (fs::read_link("/proc/self").unwrap_or_default(), BTreeMap::new());
    let first = if process == "self" { first.into_os_string() } else { process.into() };
    for task in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
        if let Some(stat) = stat(&task.path().join("stat").to_string_lossy()) {
            let name = if task.file_name() == first { "main".to_owned() } else { without_number(&stat.name) };
            *threads.entry(name).or_default() += nanoseconds(&task.path()).unwrap_or(stat.own);
        }
    }
    let living = threads.values().sum();
    threads.insert("ended".to_owned(), cpu(process).saturating_sub(living));
    threads
}

/// Likewise of a process and all that descends from it, those included that have ended.
pub(super) fn cpu_of_tree(root: u32) -> Duration {
    tree(root).values().map(|stat| stat.own + stat.ended_children).sum()
}

/// What a process has in memory at most, in bytes, since [`forget_peak`].
pub(super) fn peak(process: &str) -> u64 {
    status(process, "VmHWM")
}

/// From now on the peak is another one.
pub(super) fn forget_peak(process: &str) {
    // Not allowed, the peak is that of the whole life.
    let _ = fs::write(format!("/proc/{process}/clear_refs"), "5");
}

/// What a tree has in memory now: what each of its processes has alone, and once what they share.
pub(super) fn memory_of_tree(root: u32) -> u64 {
    let processes = tree(root);
    let alone: u64 = processes.keys().map(|process| status(&process.to_string(), "RssAnon")).sum();
    let shared = processes.keys().map(|process| status(&process.to_string(), "RssShmem")).max();
    alone + shared.unwrap_or(0)
}

/// A line of a process's status that is in KiB, in bytes.
pub(super) fn status(process: &str, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = value.and_then(|value| value.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// What is used of the lines in /proc/*/stat.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    parent: u32,
    own: Duration,
    ended_children: Duration,
}

fn stat(file: &str) -> Option<Stat> {
    parse(&fs::read_to_string(file).ok()?)
}

/// What a thread has used, by the first number of its `schedstat`.
fn nanoseconds(task: &Path) -> Option<Duration> {
    let schedstat = fs::read_to_string(task.join("schedstat")).ok()?;
    schedstat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// The second field, a name in brackets, may hold blanks and brackets itself.
fn parse(stat: &str) -> Option<Stat> {
    let (start, rest) = stat.rsplit_once(") ")?;
    let (_, name) = start.split_once('(')?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<u32>().ok()).unwrap_or(0);
    Some(Stat {
        name: name.to_owned(),
        parent: ticks(1),
        own: TICK * (ticks(11) + ticks(12)),
        ended_children: TICK * (ticks(13) + ticks(14)),
    })
}

fn without_number(name: &str) -> String {
    name.trim_end_matches(|last: char| last.is_ascii_digit() || matches!(last, '-' | '_' | ' ')).to_owned()
}

/// A process and all that descends from it.
fn tree(root: u32) -> HashMap<u32, Stat> {
    let mut others: HashMap<u32, Stat> = all().unwrap_or_default();
    let mut found = HashMap::new();
    let mut next = vec![root];
    while let Some(process) = next.pop() {
        next.extend(others.iter().filter(|(_, stat)| stat.parent == process).map(|(process, _)| *process));
        found.extend(others.remove_entry(&process));
    }
    found
}

fn all() -> io::Result<HashMap<u32, Stat>> {
    let names = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(names.filter_map(|process: u32| Some((process, stat(&format!("/proc/{process}/stat"))?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_hides_no_field() {
        let stat = "42 (a) b (c)) S 7 42 42 0 -1 4194560 100 0 0 0 150 50 7 8 20 0 1 0 100 1000 10";

        let expected = Stat {
            name: "a) b (c)".to_owned(),
            parent: 7,
            own: Duration::from_secs(2),
            ended_children: Duration::from_millis(150),
        };
        assert_eq!(parse(stat), Some(expected));
    }

    #[test]
    fn a_machine_that_waits_does_not_work() {
        let stat = "cpu  100 10 50 9999 8888 5 5 30 70 7\ncpu0 1 1 1 1 1 1 1 1 1 1\n";

        assert_eq!(busy(stat), Duration::from_secs(2));
    }

    #[test]
    fn threads_of_one_kind_differ_by_their_numbers_alone() {
        let kinds = ["worker-3", "worker 12", "worker", "tokio-rt-worker"].map(without_number);

        assert_eq!(kinds, ["worker", "worker", "worker", "tokio-rt-worker"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_is_in_the_tree_of_its_parent() {
        let mut child = std::process::Command::new("sleep").arg("10").spawn().unwrap();

        let tree = tree(std::process::id());

        child.kill().unwrap();
        child.wait().unwrap();
        assert!(tree.contains_key(&child.id()) && tree.contains_key(&std::process::id()));
    }
}

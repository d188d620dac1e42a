//! What all this ran on: a rate without it says nothing.

use std::{fmt, fs, thread};

use serde::Serialize;

/// The hardware and the programs.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) memory_bytes: u64,
    pub(super) kernel: String,
    pub(super) stores: String,
    /// Whether this executable is an optimised one.
    pub(super) optimised: bool,
    /// How many processes wanted to run in the minute before.
    pub(super) load_before: String,
}

impl Machine {
    /// As far as Linux says; `stores` is what they call themselves.
    pub(super) fn look(stores: String) -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
            line.map(|(_, value)| value.trim().to_owned())
        };
        let kib =
            field(&read("/proc/meminfo"), "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown CPU".to_owned()),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: kib.unwrap_or(0) << 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            stores,
            optimised: !cfg!(debug_assertions),
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

#[cfg(test)]
impl Machine {
    /// One that nobody has.
    pub(super) fn example() -> Self {
        Self {
            cpu: "A <fast> CPU".to_owned(),
            cores: 2,
            memory_bytes: 8 << 30,
            kernel: "6.18".to_owned(),
            stores: "Postgres 15, redis 7".to_owned(),
            optimised: true,
            load_before: "0.10".to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, memory_bytes, kernel, stores, optimised, load_before } = self;
        let gib = memory_bytes >> 30;
        writeln!(f, "{cores} cores ({cpu}), {gib} GiB, Linux {kernel}, {stores}; load {load_before} before")?;
        if !optimised {
            writeln!(f, "NOT AN OPTIMISED BUILD: nothing here says how fast latchhook is. Use `just bench`.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_is_not_optimised_says_so_loudly() {
        let slow = Machine { optimised: false, ..Machine::example() };

        assert!(slow.to_string().contains("NOT AN OPTIMISED BUILD"));
        assert!(!Machine::example().to_string().contains("NOT"));
    }
}

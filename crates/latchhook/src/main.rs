//! The binary: parses, runs, and ends with one line on stderr where that failed.

use std::{io, process::ExitCode};

use latchhook::cli;

/// Bodies are allocated on one stage's threads and freed on another's, which is where the system's allocator is slow.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(1, &format!("latchhook: no threads to run on: {error}")),
    };
    match runtime.block_on(cli::run(std::env::args_os(), &mut io::stdout())) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => ended(failure.status, &failure.to_string()),
    }
}

fn ended(status: u8, line: &str) -> ExitCode {
    eprintln!("{line}");
    ExitCode::from(status)
}

//! The binary's library: what the subcommands do.

mod bench;
pub mod cli;
mod demo;
pub mod dev;
#[cfg(feature = "kill-points")]
pub mod kill_points;
pub mod run;
pub mod servers;
mod telemetry;

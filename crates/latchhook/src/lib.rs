//! The binary's library: what the subcommands do.

pub mod cli;
mod demo;
pub mod dev;
pub mod run;
pub mod servers;
mod telemetry;

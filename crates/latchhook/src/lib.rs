//! The binary's library: what the subcommands do.

pub mod dev;
pub mod cli;
pub mod servers;

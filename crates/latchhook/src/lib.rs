//! The binary's library: what the subcommands do.

pub mod cli;
pub mod dev;
pub mod servers;

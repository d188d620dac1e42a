//! The binary's library: what the subcommands do.

pub mod servers;

//! The parts of `just chaos`, until a main puts them together.

#![allow(dead_code, reason = "the main that uses them is yet to come")]

mod proxy;

fn main() {}

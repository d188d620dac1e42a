//! `due`

//! Samples on a real PostgreSQL, each test with a database of its own.

#![expect(clippy::unwrap_used, reason = "what cannot be done fails the test")]

mod create;
mod database;
mod traffic;
mod view;

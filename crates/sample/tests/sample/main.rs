//! Samples on a real PostgreSQL. Each test has its own database.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod create;
mod database;
mod events;
mod oddities;
mod traffic;
mod versions;
mod view;

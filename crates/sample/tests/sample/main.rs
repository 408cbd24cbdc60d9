//! Samples on a real PostgreSQL, each test with a database of its own.

mod create;
mod database;
mod view;

//! A Chatwoot to try things on: its schema, seeded data, and live traffic.
//!
//! The database has exactly the tables of a Chatwoot that Tidemark reads, and the analytics view some
//! installations publish. Every database made here is marked, and nothing here changes or drops a database
//! without that mark.

mod conversation;
mod conversations;
mod copy;
mod create;
mod database;
mod describe;
mod directory;
mod layout;
mod messages;
mod schema;
mod text;
mod timeline;
mod traffic;
mod words;

pub use create::{CreateOptions, CreateReport, create};
pub use database::{drop_sample, is_sample};
pub use describe::{SampleTenant, describe};
pub use schema::schema;
pub use traffic::{ChangeKind, TrafficOptions, TrafficReport, traffic};

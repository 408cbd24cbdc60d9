//! A sample Chatwoot database: its schema, seeded data and live traffic.
//!
//! The database has the tables of any version of Chatwoot that Tidemark reads, and the analytics view that some
//! installations publish.
//! Every sample database is marked. This crate changes or drops only marked databases, and fills empty ones.

mod account;
mod attachments;
mod attributes;
mod conversation;
mod conversations;
mod copy;
mod create;
mod database;
mod describe;
mod directory;
mod events;
mod hours;
mod inboxes;
mod layout;
mod marks;
mod messages;
mod participants;
mod related;
mod schema;
mod shape;
mod slas;
mod text;
mod timeline;
mod traffic;
mod upgrade;
mod words;

pub use create::{CreateOptions, CreateReport, create, fill};
pub use database::{drop_sample, is_sample};
pub use describe::{SampleTenant, describe};
pub use schema::schema;
pub use shape::ensure_known;
pub use traffic::{ChangeKind, TrafficOptions, TrafficReport, traffic};
pub use upgrade::{UpgradeReport, upgrade};

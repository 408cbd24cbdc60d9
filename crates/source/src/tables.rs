//! Chatwoot's own tables: which of them and of their columns a source has, and how statements read them.
//!
//! A Chatwoot of an earlier version lacks tables and columns, and a copy in a warehouse has other types. Statements cast what
//! they read, so other types need nothing else. For what is missing see [`TableShape::statement`].

mod columns;
mod lookup;
mod shape;
mod versions;

pub(crate) use self::columns::table_names;
pub use self::shape::TableShape;

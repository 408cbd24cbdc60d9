//! Extract: conversations and their messages, so that memory follows one conversation and the load buffer and not the
//! chunk. From tables they are two ordered streams, merged here; from a view they come together.

mod bisect;
mod chunk;
mod extractor;
mod merge;
mod messages;
mod pending_phones;
mod tables;
pub(crate) mod view;

pub use extractor::{ExtractError, Extracted, Extractor};
pub(crate) use tables::phones;

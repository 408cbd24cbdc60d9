//! Extract: reads conversations with their messages, transforms and encodes them.
//!
//! Memory is bounded by one conversation and the load buffer, and does not grow with the chunk. Chatwoot's tables give
//! two ordered streams, conversations and messages, which `merge` joins. A view gives each conversation with its
//! messages.

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

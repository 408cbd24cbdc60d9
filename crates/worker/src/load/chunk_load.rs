//! The input of a load beside its rows.

use tidemark_ledger::impossible::Impossible;
use tidemark_shared::ids::ChunkId;

/// The chunk that is loaded, and the claim that allows it.
#[derive(Debug, Clone, Copy)]
pub struct ChunkLoad<'a> {
    pub chunk: ChunkId,
    pub attempt: i32,
    /// The version of the inbox mapping that the chunk was read with.
    pub mapping_version: i64,
    /// A repair writes every row again, whatever the target has: something other than a load may have changed it.
    pub is_repair: bool,
    /// The inboxes of that mapping.
    pub inboxes: &'a [i32],
    /// Inboxes that are gone from the source, whose rows are not marked deleted until an operator decides.
    pub waiting: &'a [i32],
    /// The request allows that many conversations are gone.
    pub allows_mass_delete: bool,
    /// For a repair: rows and chunks with versions that this source cannot have had. They count as older than any read.
    pub impossible: &'a Impossible,
}

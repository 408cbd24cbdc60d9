//! The chunk that is loaded.

use tidemark_ledger::impossible::Impossible;
use tidemark_shared::ids::ChunkId;

/// Which chunk is loaded, under which claim.
#[derive(Debug, Clone, Copy)]
pub struct ChunkLoad<'a> {
    pub chunk: ChunkId,
    pub attempt: i32,
    /// Version of the mapping that the chunk was read under.
    pub mapping_version: i64,
    /// Every row is written anew, whatever the target has: somebody else may have changed it.
    pub repairs: bool,
    /// The inboxes of that mapping.
    pub inboxes: &'a [i32],
    /// The request says that many conversations may be gone.
    pub allows_mass_delete: bool,
    /// What this source cannot have given, for a repair: it is taken for older than any read.
    pub impossible: &'a Impossible,
}

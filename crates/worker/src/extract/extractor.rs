//! The state of an extraction, and how rows leave it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tidemark_ledger::privacy::Withheld;
use tidemark_ledger::reject::{Reject, RejectSide};
use tidemark_source::{Source, SourceError, SourceTx};
use tokio::sync::mpsc;

use crate::rejects::{Rejects, TooManyRejects};
use crate::row::encode::CopyEncoder;
use crate::transform::fold::Senders;
use crate::transform::{TenantContext, TransformError};

/// Conversations read at once with what they point to; their messages are then streamed.
pub(super) const KEYS_AT_ONCE: usize = 500;
/// Encoded rows are handed to the load when they have grown to this many bytes, or are this many: soon, so that source,
/// transform and target are at work at the same time.
const BUFFER_BYTES: usize = 1 << 20;
const BUFFER_ROWS: usize = 100;

#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    TooManyRejects(#[from] TooManyRejects),
    /// The load has ended early; its own error tells why.
    #[error("the load no longer takes rows")]
    LoadEnded,
}

/// What was found of a chunk.
#[derive(Debug, Default)]
pub struct Extracted {
    /// Conversations that exist and are the tenant's, ascending; also those that were rejected.
    pub found: Vec<i64>,
    /// Those of forgotten contacts, which are not among them.
    pub withheld: Vec<Withheld>,
    /// Who wrote messages in them.
    pub senders: Senders,
    /// Keys of the chunk that are in neither; empty for a range.
    pub gone: Vec<i64>,
}

impl Extracted {
    pub(super) fn withheld_ids(&self) -> HashSet<i64> {
        self.withheld.iter().map(|one| one.conversation_id).collect()
    }
}

/// Reads one chunk inside one snapshot.
pub struct Extractor<'a> {
    pub(super) source: &'a Source,
    pub(super) tx: &'a mut SourceTx,
    pub(super) inboxes: &'a [i32],
    pub(super) tenant: &'a TenantContext,
    pub(super) sink: mpsc::Sender<CopyEncoder>,
    pub(super) rejects: &'a Rejects,
    pub(super) buffer: CopyEncoder,
    /// Phones of contacts who wrote in conversations of others.
    pub(super) phones: HashMap<i64, Option<String>>,
    /// The conversations that they wrote in and that were too large to try_push until their phones are known, with their ids:
    /// read a second time at the end. There are few, and the snapshot is the same.
    pub(super) needs_client_phone: BTreeMap<i64, i64>,
    pub(super) extracted: Extracted,
    /// Conversations that are read at once.
    pub(super) key_limit: usize,
    /// Spent on transform_time, in between the reading.
    pub(super) transform_time: Duration,
}

impl<'a> Extractor<'a> {
    /// `sink` takes full buffers; it should be short, a buffer holds megabytes.
    #[must_use]
    pub fn new(
        source: &'a Source,
        tx: &'a mut SourceTx,
        inboxes: &'a [i32],
        tenant: &'a TenantContext,
        sink: mpsc::Sender<CopyEncoder>,
        rejects: &'a Rejects,
    ) -> Self {
        Self {
            source,
            tx,
            inboxes,
            tenant,
            sink,
            rejects,
            buffer: CopyEncoder::new(),
            phones: HashMap::new(),
            needs_client_phone: BTreeMap::new(),
            extracted: Extracted::default(),
            key_limit: KEYS_AT_ONCE,
            transform_time: Duration::ZERO,
        }
    }

    pub(super) async fn flush(&mut self) -> Result<(), ExtractError> {
        if self.buffer.row_count() == 0 {
            return Ok(());
        }
        let last = std::mem::take(&mut self.buffer);
        self.sink.send(last).await.map_err(|_| ExtractError::LoadEnded)
    }
}

pub(super) async fn send_when_full(
    sink: &mpsc::Sender<CopyEncoder>,
    buffer: &mut CopyEncoder,
) -> Result<(), ExtractError> {
    if buffer.byte_count() < BUFFER_BYTES && buffer.row_count() < BUFFER_ROWS {
        return Ok(());
    }
    let full = std::mem::take(buffer);
    sink.send(full).await.map_err(|_| ExtractError::LoadEnded)
}

pub(super) fn reject(conversation_id: i64, error: &TransformError) -> Reject {
    Reject {
        conversation_id,
        side: RejectSide::Transform,
        sqlstate: None,
        error: error.to_string(),
    }
}

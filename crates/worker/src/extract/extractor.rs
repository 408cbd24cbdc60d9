//! The state of an extraction, its result and its errors.

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

/// Conversations read with one query, with their inbox, contact and so on. Their messages are streamed afterwards.
pub(super) const KEYS_AT_ONCE: usize = 500;
/// A buffer is sent to the load when it has this many bytes or rows. It is small, so that source, worker and target
/// work at the same time.
const BUFFER_BYTES: usize = 1 << 20;
const BUFFER_ROWS: usize = 100;

#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    TooManyRejects(#[from] TooManyRejects),
    /// The load has failed; its own error has the cause.
    #[error("the load no longer takes rows")]
    LoadEnded,
}

/// What a chunk's conversations turned out to be.
#[derive(Debug, Default)]
pub struct Extracted {
    /// The tenant's conversations that exist, ascending, including rejected ones.
    pub found: Vec<i64>,
    /// Conversations of forgotten contacts; not in `found`.
    pub withheld: Vec<Withheld>,
    /// The senders of their messages.
    pub senders: Senders,
    /// Keys of the chunk that are neither in `found` nor in `withheld`. Empty for a range.
    pub gone: Vec<i64>,
}

impl Extracted {
    pub(super) fn withheld_ids(&self) -> HashSet<i64> {
        self.withheld.iter().map(|one| one.conversation_id).collect()
    }
}

/// Reads one chunk in one snapshot.
pub struct Extractor<'a> {
    pub(super) source: &'a Source,
    pub(super) tx: &'a mut SourceTx,
    pub(super) inboxes: &'a [i32],
    pub(super) tenant: &'a TenantContext,
    pub(super) sink: mpsc::Sender<CopyEncoder>,
    pub(super) rejects: &'a Rejects,
    pub(super) buffer: CopyEncoder,
    /// Phone numbers of clients who are not the contact of the conversation that they wrote in.
    pub(super) phones: HashMap<i64, Option<String>>,
    /// Conversations, each with such a client, that were too large to keep until the client's phone was known. They are
    /// read a second time at the end, in the same snapshot. There are few.
    pub(super) needs_client_phone: BTreeMap<i64, i64>,
    pub(super) extracted: Extracted,
    /// How many conversations one query may read. A timeout lowers it.
    pub(super) key_limit: usize,
    /// Time spent on transforming, in total.
    pub(super) transform_time: Duration,
}

impl<'a> Extractor<'a> {
    /// `sink` receives full buffers. Keep its queue short: a buffer may have megabytes.
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

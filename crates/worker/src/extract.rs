//! Extract: conversations and their messages, so that memory follows one conversation and the load buffer and not the
//! chunk. From tables they are two ordered streams, merged here; from a view they come together.

mod bisect;
mod messages;
mod pending_phones;
mod tables;
pub(crate) mod view;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::transform::fold::Senders;
use tidemark_ledger::privacy::Withheld;
use tidemark_ledger::reject::{Reject, RejectSide};
use tidemark_runtime::telemetry::record_stage_total;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_source::view::ViewShape;
use tidemark_source::{Source, SourceError, SourceTx};
use tokio::sync::mpsc;

use self::messages::{Message, MessageCopy, MessageRow};
use self::tables::Conversation;
pub(crate) use self::tables::phones;
use crate::extract::pending_phones::{Complete, Held};
use crate::rejects::{Rejects, TooManyRejects};
use crate::row::encode::{CopyEncoder, Digests};
use crate::transform::fold::MessageFold;
use crate::transform::{TenantContext, TransformError, transform};

/// Conversations read at once with what they point to; their messages are then streamed.
const SLICE: usize = 500;
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
    fn withheld_ids(&self) -> HashSet<i64> {
        self.withheld.iter().map(|one| one.conversation_id).collect()
    }
}

/// Reads one chunk inside one snapshot.
pub struct Extractor<'a> {
    source: &'a Source,
    tx: &'a mut SourceTx,
    inboxes: &'a [i32],
    tenant: &'a TenantContext,
    sink: mpsc::Sender<CopyEncoder>,
    rejects: &'a Rejects,
    buffer: CopyEncoder,
    /// Phones of contacts who wrote in conversations of others.
    phones: HashMap<i64, Option<String>>,
    /// The conversations that they wrote in and that were too large to hold until their phones are known, with their ids:
    /// read a second time at the end. There are few, and the snapshot is the same.
    strangers: BTreeMap<i64, i64>,
    extracted: Extracted,
    /// Conversations that are read at once.
    at_once: usize,
    /// Spent on transforming, in between the reading.
    transforming: Duration,
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
            strangers: BTreeMap::new(),
            extracted: Extracted::default(),
            at_once: SLICE,
            transforming: Duration::ZERO,
        }
    }

    /// Extracts and transforms the chunk; conversations that cannot be read or transformed are rejected.
    ///
    /// # Errors
    /// When the source does not answer, too many conversations are rejected, or the load has ended.
    pub async fn run(mut self, spec: &ChunkSpec) -> Result<Extracted, ExtractError> {
        let view = match self.source.view() {
            None => None,
            // looked up again: it may have changed since the plan
            Some(_) => self.source.check_catalog(self.tx.connection()).await?,
        };
        let keys = match (spec, &view) {
            (ChunkSpec::Keys { ids }, _) => Ok(ids.clone()),
            (ChunkSpec::KeyRange { lo, hi }, None) => {
                tables::keys_in_range(self.tx.connection(), self.inboxes, *lo, *hi).await
            }
            (ChunkSpec::KeyRange { lo, hi }, Some(view)) => {
                view::keys_in_range(self.tx.connection(), view, self.inboxes, *lo, *hi).await
            }
        };
        let keys = keys.map_err(self.source.query_error("list the conversations of a range"))?;
        self.rejects.expect_rows(keys.len());
        for slice in keys.chunks(SLICE) {
            self.bisect(view.as_ref(), slice).await?;
        }
        self.extracted.found.sort_unstable();
        let found = &self.extracted.found;
        let unfinished = self.strangers.keys().copied();
        let unfinished: Vec<i64> = unfinished
            .filter(|key| found.binary_search(key).is_err())
            .collect();
        for slice in unfinished.chunks(SLICE) {
            self.bisect(view.as_ref(), slice).await?;
        }
        self.flush().await?;
        record_stage_total("transform", self.transforming);
        self.extracted.found.sort_unstable();
        debug_assert!(
            unfinished
                .iter()
                .all(|key| self.extracted.found.binary_search(key).is_ok()),
            "every client's phone is known now"
        );
        if matches!(spec, ChunkSpec::Keys { .. }) {
            let found = &self.extracted.found;
            let withheld = self.extracted.withheld_ids();
            self.extracted.gone = keys
                .into_iter()
                .filter(|key| found.binary_search(key).is_err() && !withheld.contains(key))
                .collect();
        }
        Ok(self.extracted)
    }

    /// Takes these conversations. After an error those that are found are handed on, the others are not.
    async fn slice(&mut self, view: Option<&ViewShape>, keys: &[i64]) -> Result<(), ExtractError> {
        match view {
            None => self.table_slice(keys).await,
            Some(view) => self.view_slice(view, keys).await,
        }
    }

    async fn table_slice(&mut self, keys: &[i64]) -> Result<(), ExtractError> {
        let known = keys.iter().filter_map(|key| self.strangers.get(key));
        let clients: Vec<i64> = known.copied().collect();
        self.learn_phones(&clients).await?;
        let rules = self.tenant.rules();
        let conversations = tables::conversations(self.tx.connection(), self.inboxes, keys, &rules)
            .await
            .map_err(self.source.query_error("read conversations"))?;
        let held = self.merge(conversations).await?;
        self.learn_phones(&held.clients).await?;
        for mut complete in held.conversations {
            self.extracted.senders.add(complete.fold.take_senders());
            let id = complete.conversation.record.id;
            let begun = Instant::now();
            take(
                complete,
                &self.phones,
                self.tenant,
                &mut self.buffer,
                self.rejects,
            )?;
            self.transforming += begun.elapsed();
            self.extracted.found.push(id);
            send_when_full(&self.sink, &mut self.buffer).await?;
        }
        Ok(())
    }

    async fn learn_phones(&mut self, clients: &[i64]) -> Result<(), ExtractError> {
        if !clients.is_empty() {
            let phones = tables::phones(self.tx.connection(), clients)
                .await
                .map_err(self.source.query_error("read phone numbers"))?;
            self.phones.extend(phones);
        }
        Ok(())
    }

    /// Merges conversations with the stream of their messages; returns those whose client's phone is not yet known.
    async fn merge(&mut self, conversations: Vec<Conversation>) -> Result<Held, ExtractError> {
        let source = self.source;
        let ids: Vec<i64> = conversations
            .iter()
            .map(|conversation| conversation.record.id)
            .collect();
        let mut held = Held::default();
        let mut conversations = conversations.into_iter();
        let mut current = conversations.next();
        let mut fold = MessageFold::under(&self.tenant.privacy);
        let mut messages_digest = 0_i64;
        let failed = || source.query_error("read messages");
        let mut messages = MessageCopy::of(self.tx.connection(), &ids)
            .await
            .map_err(failed())?;
        loop {
            let row = messages.try_next().await.map_err(failed())?;
            let message = match row.as_ref().map(MessageRow::decode).transpose() {
                Ok(message) => message,
                Err(error) => {
                    messages.pass_over().await.map_err(failed())?;
                    return Err(failed()(error).into());
                }
            };
            let belongs_to = message.as_ref().map(|message| message.conversation_id);
            // conversations before the message's are complete; without a message all that are left are
            while let Some(conversation) = current.take() {
                if Some(conversation.record.id) == belongs_to {
                    current = Some(conversation);
                    break;
                }
                let mut complete = Complete {
                    conversation,
                    fold: std::mem::replace(&mut fold, MessageFold::under(&self.tenant.privacy)),
                    messages_digest: std::mem::take(&mut messages_digest),
                };
                current = conversations.next();
                let id = complete.conversation.record.id;
                if let Some(withheld) = withheld(&complete.conversation, self.tenant) {
                    self.extracted.withheld.push(withheld);
                    continue;
                }
                if let Some(client) = complete.unknown_client(&self.phones) {
                    if !held.hold(complete, client) {
                        self.strangers.insert(id, client);
                    }
                    continue;
                }
                self.extracted.senders.add(complete.fold.take_senders());
                let begun = Instant::now();
                take(
                    complete,
                    &self.phones,
                    self.tenant,
                    &mut self.buffer,
                    self.rejects,
                )?;
                self.transforming += begun.elapsed();
                self.extracted.found.push(id);
                send_when_full(&self.sink, &mut self.buffer).await?;
            }
            let Some(Message { digest, message, .. }) = message else {
                break;
            };
            messages_digest = messages_digest.wrapping_add(digest);
            fold.push(&message);
        }
        Ok(held)
    }

    async fn flush(&mut self) -> Result<(), ExtractError> {
        if self.buffer.row_count() == 0 {
            return Ok(());
        }
        let last = std::mem::take(&mut self.buffer);
        self.sink.send(last).await.map_err(|_| ExtractError::LoadEnded)
    }
}

/// A conversation that stays out, since its contact is forgotten.
fn withheld(conversation: &Conversation, tenant: &TenantContext) -> Option<Withheld> {
    let record = &conversation.record;
    Some(Withheld {
        conversation_id: record.id,
        contact_id: tenant.privacy.forgotten(record.contact_id)?,
        inbox_id: record.inbox_id,
        source_digest: conversation.digest,
    })
}

/// Transforms and encodes one complete conversation whose client's phone is known, or rejects it.
fn take(
    complete: Complete,
    phones: &HashMap<i64, Option<String>>,
    tenant: &TenantContext,
    buffer: &mut CopyEncoder,
    rejects: &Rejects,
) -> Result<(), TooManyRejects> {
    let Conversation {
        record: conversation,
        digest,
        related_digest,
    } = &complete.conversation;
    let phone = match complete.fold.client_sender_id() {
        client if client == conversation.contact_id => conversation.contact_phone.as_deref(),
        client => client
            .and_then(|client| phones.get(&client))
            .and_then(Option::as_deref),
    };
    match transform(tenant, conversation, complete.fold, phone) {
        Ok(row) => {
            let digests = Digests {
                source: *digest,
                related: related_digest.wrapping_add(complete.messages_digest),
            };
            buffer.push(&row, digests);
        }
        Err(error) => rejects.push(reject(conversation.id, &error))?,
    }
    Ok(())
}

async fn send_when_full(
    sink: &mpsc::Sender<CopyEncoder>,
    buffer: &mut CopyEncoder,
) -> Result<(), ExtractError> {
    if buffer.byte_count() < BUFFER_BYTES && buffer.row_count() < BUFFER_ROWS {
        return Ok(());
    }
    let full = std::mem::take(buffer);
    sink.send(full).await.map_err(|_| ExtractError::LoadEnded)
}

fn reject(conversation_id: i64, error: &TransformError) -> Reject {
    Reject {
        conversation_id,
        side: RejectSide::Transform,
        sqlstate: None,
        error: error.to_string(),
    }
}

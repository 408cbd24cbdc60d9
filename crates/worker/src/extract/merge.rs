//! Reads conversations from Chatwoot's own tables and merges them with the stream of their messages.

use std::collections::HashMap;
use std::time::Instant;

use tidemark_ledger::privacy::Withheld;
use tidemark_source::Shape;

use super::extractor::{ExtractError, Extractor, reject, send_when_full};
use super::messages::{Message, MessageRow, MessageStream, SELECT};
use super::pending_phones::{CompleteConversation, PendingPhones};
use super::tables::{self, Conversation};
use crate::rejects::{Rejects, TooManyRejects};
use crate::row::encode::{CopyEncoder, Digests};
use crate::transform::fold::MessageFold;
use crate::transform::{TenantContext, transform};

/// Up to so many conversations are few: see [`super::messages`].
const FEW_KEYS: usize = 50;

impl Extractor<'_> {
    pub(super) async fn read_from_tables(&mut self, shape: &Shape, keys: &[i64]) -> Result<(), ExtractError> {
        let clients = keys.iter().filter_map(|key| self.needs_client_phone.get(key));
        let clients: Vec<i64> = clients.copied().collect();
        self.fetch_phones(shape, &clients).await?;
        let digest_seed = self.tenant.digest_seed();
        let conversations =
            tables::conversations(self.tx.connection(), shape, self.inboxes, keys, &digest_seed)
                .await
                .map_err(self.source.query_error("read conversations"))?;
        let pending = self.merge(shape, conversations).await?;
        self.fetch_phones(shape, &pending.clients).await?;
        for mut complete in pending.conversations {
            self.extracted.senders.add(complete.fold.take_senders());
            let id = complete.conversation.record.id;
            let begun = Instant::now();
            transform_or_reject(
                complete,
                &self.phones,
                self.tenant,
                &mut self.buffer,
                self.rejects,
            )?;
            self.transform_time += begun.elapsed();
            self.extracted.found.push(id);
            send_when_full(&self.sink, &mut self.buffer).await?;
        }
        Ok(())
    }

    async fn fetch_phones(&mut self, shape: &Shape, clients: &[i64]) -> Result<(), ExtractError> {
        if !clients.is_empty() {
            let phones = tables::phones(self.tx.connection(), shape, clients)
                .await
                .map_err(self.source.query_error("read phone numbers"))?;
            self.phones.extend(phones);
        }
        Ok(())
    }

    /// Merges conversations with the stream of their messages. Returns those whose client's phone is not yet known.
    async fn merge(
        &mut self,
        shape: &Shape,
        conversations: Vec<Conversation>,
    ) -> Result<PendingPhones, ExtractError> {
        let source = self.source;
        let ids: Vec<i64> = conversations
            .iter()
            .map(|conversation| conversation.record.id)
            .collect();
        let mut pending = PendingPhones::default();
        let mut conversations = conversations.into_iter();
        let mut current = conversations.next();
        let mut fold = MessageFold::with_privacy(&self.tenant.privacy);
        let mut messages_digest = 0_i64;
        let failed = || source.query_error("read messages");
        let select = shape.on_tables(&SELECT);
        let mut messages = if ids.len() <= FEW_KEYS {
            MessageStream::query(self.tx.connection(), &select, &ids)
        } else {
            MessageStream::copy(self.tx.connection(), &select, &ids)
                .await
                .map_err(failed())?
        };
        loop {
            let row = messages.try_next().await.map_err(failed())?;
            let message = match row.as_ref().map(MessageRow::decode).transpose() {
                Ok(message) => message,
                Err(error) => {
                    messages.drain().await.map_err(failed())?;
                    return Err(failed()(error).into());
                }
            };
            let belongs_to = message.as_ref().map(|message| message.conversation_id);
            // every conversation before the one of this message is complete; after the last message all are
            while let Some(conversation) = current.take() {
                if Some(conversation.record.id) == belongs_to {
                    current = Some(conversation);
                    break;
                }
                let mut complete = CompleteConversation {
                    conversation,
                    fold: std::mem::replace(&mut fold, MessageFold::with_privacy(&self.tenant.privacy)),
                    messages_digest: std::mem::take(&mut messages_digest),
                };
                current = conversations.next();
                let id = complete.conversation.record.id;
                if let Some(withheld) = withheld(&complete.conversation, self.tenant) {
                    self.extracted.withheld.push(withheld);
                    continue;
                }
                if let Some(client) = complete.unknown_client(&self.phones) {
                    if !pending.try_push(complete, client) {
                        self.needs_client_phone.insert(id, client);
                    }
                    continue;
                }
                self.extracted.senders.add(complete.fold.take_senders());
                let begun = Instant::now();
                transform_or_reject(
                    complete,
                    &self.phones,
                    self.tenant,
                    &mut self.buffer,
                    self.rejects,
                )?;
                self.transform_time += begun.elapsed();
                self.extracted.found.push(id);
                send_when_full(&self.sink, &mut self.buffer).await?;
            }
            let Some(Message { digest, message, .. }) = message else {
                break;
            };
            messages_digest = messages_digest.wrapping_add(digest);
            fold.push(&message);
        }
        Ok(pending)
    }
}

/// `Some` when the conversation's contact is forgotten: the conversation is kept out of the target.
fn withheld(conversation: &Conversation, tenant: &TenantContext) -> Option<Withheld> {
    let record = &conversation.record;
    Some(Withheld {
        conversation_id: record.id,
        contact_id: tenant.privacy.forgotten(record.contact_id)?,
        inbox_id: record.inbox_id,
        source_digest: conversation.digest,
    })
}

/// Transforms and encodes one complete conversation, or rejects it. Its client's phone must be known.
fn transform_or_reject(
    complete: CompleteConversation,
    phones: &HashMap<i64, Option<String>>,
    tenant: &TenantContext,
    buffer: &mut CopyEncoder,
    rejects: &Rejects,
) -> Result<(), TooManyRejects> {
    let Conversation {
        record: conversation,
        digest,
        related_digest,
        contact_digest,
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
                contact: *contact_digest,
            };
            buffer.push(&row, digests);
        }
        Err(error) => rejects.push(reject(conversation.id, &error))?,
    }
    Ok(())
}

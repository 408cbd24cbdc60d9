-- works from: 20261129194200
-- The digest of the row's contact, computed by the source and bound to row_hash (crates/shared/src/contact_digest.rs). A contact
-- moves with each message of theirs, and a plan reads only those of their conversations again whose rows were made with other
-- values. NULL in rows from before this, of a conversation without a contact, or read through a view: these are read again.
ALTER TABLE conversations_analytics ADD COLUMN contact_digest bigint;

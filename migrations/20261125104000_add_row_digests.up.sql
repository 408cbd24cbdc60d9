-- What verification compares by sums. A row written before has neither: it is compared column by column until a load
-- writes it again.
ALTER TABLE conversations_analytics
    -- digest of the messages and of all else outside the conversation's own row, computed by the source
    ADD COLUMN related_digest bigint,
    -- digest of this row, computed by this server when a load wrote it: another one now tells of another hand
    ADD COLUMN row_digest bigint;

-- The version of the source that a done chunk was read at, as in conversations_analytics: a load that overlapped another
-- asks whether the other one read later. NULL in chunks that were not read, or done before this.
ALTER TABLE etl_chunk
    ADD COLUMN source_epoch        integer,
    ADD COLUMN source_xmax         bigint,
    ADD COLUMN source_in_progress  integer,
    ADD COLUMN source_extracted_at timestamptz;

-- serves every load that wrote something: the tenant's chunks that were read later than this one, usually none
CREATE INDEX etl_chunk_version_idx ON etl_chunk
    (tenant_id, source_epoch, source_xmax, (-source_in_progress), source_extracted_at)
    WHERE status = 'done';

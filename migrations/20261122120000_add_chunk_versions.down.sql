DROP INDEX etl_chunk_version_idx;
ALTER TABLE etl_chunk
    DROP COLUMN source_extracted_at,
    DROP COLUMN source_in_progress,
    DROP COLUMN source_xmax,
    DROP COLUMN source_epoch;

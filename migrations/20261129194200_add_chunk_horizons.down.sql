ALTER TABLE etl_chunk DROP COLUMN source_xmin;

-- The lowest transaction that was open at the source when a done chunk was read: changes of earlier ones are in its rows, so a
-- plan that finds them again in its lookback need not name them. NULL in chunks that were done before this.
ALTER TABLE etl_chunk ADD COLUMN source_xmin bigint;

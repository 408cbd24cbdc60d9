-- Merges staging into the target: new rows, and rows whose content differs, unless the target has them from a newer read.
-- A row that was marked deleted becomes live again. A repair writes every row again, also a row that something other than
-- a load has changed: the version of such a row means nothing. A load never writes NULL into handled_by: it is NULL in rows
-- whose columns a migration has added, also where it had dropped them before and their hash knows them.
-- "columns", "changed" and "updates" come from row/columns.rs, the other expressions from load/row_digest.rs.
-- $1 run, $2 the source's clock, $3 epoch, $4 xmax, $5 transactions in progress, $6 to $7 range of conversations,
-- $8 whether this is a repair
--
-- "before" has the rows as they are under their locks, for the feed of changes: what another load commits until then is in them.
-- The condition on its count makes the server read all of it before it writes a row. The rows are looked up one by one, in the order
-- of their keys, each as a sorted range of one key. Otherwise, in a target without statistics, the server would read all of the
-- tenant's rows: once for a list of keys, or in an index of something else once for every key. It expects one row in staging; the
-- caller switches nested loops off for the joins after that.
WITH locked AS MATERIALIZED (
    SELECT a.* FROM (
        SELECT tenant_id, conversation_id FROM pg_temp.tidemark_staging
        WHERE conversation_id BETWEEN $6 AND $7 ORDER BY conversation_id
    ) s CROSS JOIN LATERAL (
        SELECT * FROM conversations_analytics t
        WHERE t.tenant_id = s.tenant_id AND t.conversation_id BETWEEN s.conversation_id AND s.conversation_id
        ORDER BY t.conversation_id
        FOR NO KEY UPDATE
    ) a
), before AS MATERIALIZED (
    SELECT conversation_id, t.conversation_date, t.source_deleted_at IS NOT NULL AS was_deleted,
           array_to_string(ARRAY[{changed}], ',') AS changed_columns
    FROM locked t JOIN pg_temp.tidemark_staging s USING (conversation_id)
), written AS (
    INSERT INTO conversations_analytics AS t ({columns}, etl_run_id, source_extracted_at, source_epoch, source_xmax,
                                              source_in_progress, row_digest)
    SELECT {columns}, $1, $2, $3, $4, $5, {digest}
    FROM pg_temp.tidemark_staging s
    WHERE conversation_id BETWEEN $6 AND $7 AND (SELECT count(*) FROM before) >= 0
    ORDER BY conversation_id
    ON CONFLICT (tenant_id, conversation_id) DO UPDATE
    SET {updates},
        etl_run_id = EXCLUDED.etl_run_id, etl_updated_at = now(), source_deleted_at = NULL,
        source_extracted_at = EXCLUDED.source_extracted_at, source_epoch = EXCLUDED.source_epoch,
        source_xmax = EXCLUDED.source_xmax, source_in_progress = EXCLUDED.source_in_progress,
        row_digest = EXCLUDED.row_digest # {inserted_now} # {inserted_then}
    WHERE ($8 OR t.row_hash <> EXCLUDED.row_hash OR t.source_digest <> EXCLUDED.source_digest
           OR t.related_digest IS DISTINCT FROM EXCLUDED.related_digest OR t.row_digest IS NULL
           OR t.source_deleted_at IS NOT NULL OR t.handled_by IS NULL
           OR (EXCLUDED.contact_digest IS NOT NULL AND t.contact_digest IS DISTINCT FROM EXCLUDED.contact_digest))
      AND ((EXCLUDED.source_epoch, EXCLUDED.source_xmax, -EXCLUDED.source_in_progress, EXCLUDED.source_extracted_at)
           >= (t.source_epoch, t.source_xmax, -t.source_in_progress, t.source_extracted_at)
           OR ($8 AND {digest_is_invalid}))
    RETURNING t.conversation_id, t.conversation_date, t.etl_inserted_at = now() AS is_new
)
-- Rows that were written, each with whether it is new (xmax cannot tell, since a partitioned table has none), and then the rows as
-- they were. The server expects one row of each and would join them in a nested loop.
SELECT conversation_id, conversation_date, is_new, false AS was_deleted, NULL AS changed_columns FROM written
UNION ALL
SELECT conversation_id, conversation_date, NULL, was_deleted, changed_columns FROM before

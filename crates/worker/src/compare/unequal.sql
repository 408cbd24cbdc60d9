-- Joins staging with the target and returns the conversations whose rows are not proven equal.
-- "differing_columns" is a CASE for each content column, made in compare/staged.rs: the column's name when it differs.
-- "digest_is_invalid" comes from load/row_digest.rs.
-- $1 tenant, $2 to $3 range of conversations, $4 only these conversations (NULL: all), $5 to $8 the snapshot's version:
-- epoch, xmax, transactions in progress, clock; $9 watermark, $10 inboxes whose history is not loaded yet, $11 to $14
-- the version of the first pass (NULL: this is the first), $15 whether a row that is newer than the snapshot has to be
-- returned even if equal
SELECT * FROM (
    SELECT conversation_id AS id, s.row_hash IS NOT NULL AS staged,
           t.row_hash IS NOT NULL AND t.source_deleted_at IS NULL AS live,
           CASE WHEN s.row_hash IS NOT NULL AND t.row_hash IS NOT NULL
                THEN array_remove(ARRAY[{differing_columns}]::text[], NULL) ELSE '{}' END AS columns,
           coalesce(s.source_digest <> t.source_digest, false) AS source_differs,
           coalesce(s.related_digest <> t.related_digest, false) AS related_differs,
           coalesce(t.source_epoch, 0) AS source_epoch, coalesce(t.source_xmax, 0) AS source_xmax,
           coalesce(t.source_in_progress, 0) AS source_in_progress,
           t.row_digest IS NULL OR t.related_digest IS NULL AS no_digest,
           t.row_digest IS NOT NULL AND {digest_is_invalid} AS digest_mismatch,
           coalesce((t.source_epoch, t.source_xmax, -t.source_in_progress, t.source_extracted_at)
                    > ($5, $6, -$7::integer, $8), false) AS newer,
           coalesce((t.source_epoch, t.source_xmax, -t.source_in_progress, t.source_extracted_at)
                    > ($11, $12, -$13::integer, $14), false) AS read_after_first_pass,
           coalesce(greatest(s.conversation_created_at, s.conversation_updated_at, s.last_activity_at,
                             s.waiting_since, s.first_reply_created_at, s.contact_last_seen_at,
                             s.agent_last_seen_at, s.mc_last_message_at, s.csat_created_at)
                    BETWEEN $9::timestamptz AND $8, false) AS is_recent,
           coalesce(s.inbox_id = ANY($10), false) AS is_unfetched
    FROM pg_temp.tidemark_staging s
    FULL JOIN (SELECT * FROM conversations_analytics
               WHERE tenant_id = $1 AND conversation_id BETWEEN $2 AND $3
                 AND ($4::bigint[] IS NULL OR conversation_id = ANY($4))) t USING (tenant_id, conversation_id)
) compared
WHERE CASE WHEN staged AND live
           THEN columns <> '{}' OR source_differs OR related_differs OR no_digest OR digest_mismatch
                OR ($15 AND newer)
           ELSE staged OR live END

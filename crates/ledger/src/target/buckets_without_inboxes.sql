-- As buckets.sql, without the conversations of some inboxes. It reads the wide table, so it is used only while inboxes wait
-- for a backfill.
-- $1 tenant, $2 width of a bucket, $3 inboxes to leave out
SELECT bucket, sum(count)::bigint AS count, sum(digest)::text AS digest, max(last) AS last FROM (
    SELECT conversation_id / $2 AS bucket, count(*) AS count, sum(source_digest) AS digest,
           max(conversation_id) AS last
    FROM conversations_analytics WHERE tenant_id = $1 AND source_deleted_at IS NULL
      AND (inbox_id = ANY($3)) IS NOT TRUE GROUP BY 1
    UNION ALL
    SELECT conversation_id / $2, 1, source_digest, conversation_id
    FROM etl_withheld_conversation WHERE tenant_id = $1 AND NOT inbox_id = ANY($3)) b
GROUP BY 1 ORDER BY 1

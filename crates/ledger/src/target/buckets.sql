-- Counts and digests of a tenant's live conversations, by bucket of ids. Withheld conversations count: the source has them,
-- and the target leaves them out on purpose.
-- $1 tenant, $2 width of a bucket
SELECT bucket, sum(count)::bigint AS count, sum(digest)::text AS digest, max(last) AS last FROM (
    SELECT conversation_id / $2 AS bucket, count(*) AS count, sum(source_digest) AS digest,
           max(conversation_id) AS last
    FROM conversations_analytics WHERE tenant_id = $1 AND source_deleted_at IS NULL GROUP BY 1
    UNION ALL
    SELECT conversation_id / $2, 1, source_digest, conversation_id
    FROM etl_withheld_conversation WHERE tenant_id = $1) b
GROUP BY 1 ORDER BY 1

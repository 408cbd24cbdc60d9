-- Counts the tenant's live rows of a range of ids and sums their digests, by bucket, as conversations.sql does at the
-- source. "digest_is_invalid" comes from load/row_digest.rs. The rows are reduced to a few numbers before they are grouped:
-- without the OFFSET, PostgreSQL may sort them whole. The last three columns are the rows whose client is not their
-- contact: the source would have to look up the client of every conversation, so no digest covers that phone.
-- $1 tenant, $2 to $3 range of conversations, $4 bits per bucket, $5 to $7 the snapshot's version: epoch, xmax,
-- transactions in progress (NULL: rows that are newer than the snapshot can be proven, too)
SELECT bucket, count(*) AS count, sum(source_digest)::text AS source, coalesce(sum(related_digest), 0)::text AS related,
       count(*) FILTER (WHERE is_unproven) AS unproven_count,
       array_agg(id) FILTER (WHERE client IS NOT NULL) AS ids,
       array_agg(client) FILTER (WHERE client IS NOT NULL) AS clients,
       array_agg(phone) FILTER (WHERE client IS NOT NULL) AS phones
FROM (
    SELECT t.conversation_id >> $4 AS bucket, t.conversation_id AS id, t.source_digest, t.related_digest,
           t.related_digest IS NULL OR {digest_is_invalid}
               OR (t.source_epoch, t.source_xmax, -t.source_in_progress) > ($5, $6, -$7::integer) AS is_unproven,
           CASE WHEN t.client_sender_id IS DISTINCT FROM t.contact_id THEN t.client_sender_id END AS client,
           CASE WHEN t.client_sender_id IS DISTINCT FROM t.contact_id THEN t.client_phone::text END AS phone
    FROM conversations_analytics t
    WHERE t.tenant_id = $1 AND t.conversation_id BETWEEN $2 AND $3 AND t.source_deleted_at IS NULL
    OFFSET 0
) r
GROUP BY bucket

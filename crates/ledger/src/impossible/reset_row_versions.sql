-- Sets rows of impossible versions to version zero: any read of the source is newer. They have no digest then. A row
-- that was written since has another version, and stays.
-- $1 tenant, and for each row: $2 conversation, $3 epoch, $4 xmax, $5 transactions in progress
WITH locked AS (
    SELECT t.conversation_id
    FROM conversations_analytics t
    JOIN unnest($2::bigint[], $3::integer[], $4::bigint[], $5::integer[]) AS n (conversation_id, epoch, xmax, in_progress)
      ON n.conversation_id = t.conversation_id
    WHERE t.tenant_id = $1
      AND (t.source_epoch, t.source_xmax, t.source_in_progress) = (n.epoch, n.xmax, n.in_progress)
    ORDER BY t.conversation_id
    FOR NO KEY UPDATE OF t
)
UPDATE conversations_analytics t
SET source_epoch = 0, source_xmax = 0, source_in_progress = 0, row_digest = NULL
FROM locked
WHERE t.tenant_id = $1 AND t.conversation_id = locked.conversation_id

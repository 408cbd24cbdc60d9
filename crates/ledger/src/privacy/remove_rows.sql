-- Deletes the rows of a contact's conversations, with their rejects. Live ones are recorded as withheld.
-- $1 tenant, $2 contact
WITH removed AS (DELETE FROM conversations_analytics WHERE tenant_id = $1 AND contact_id = $2
                 RETURNING conversation_id, inbox_id, source_digest, source_deleted_at, conversation_date),
     withheld AS (INSERT INTO etl_withheld_conversation
                      (tenant_id, conversation_id, contact_id, inbox_id, source_digest)
                  SELECT $1, conversation_id, $2, coalesce(inbox_id, 0), source_digest FROM removed
                  WHERE source_deleted_at IS NULL ORDER BY conversation_id
                  ON CONFLICT (tenant_id, conversation_id) DO NOTHING),
     rejects AS (DELETE FROM etl_rejected_row j USING removed r
                 WHERE j.tenant_id = $1 AND j.conversation_id = r.conversation_id)
SELECT conversation_id, conversation_date, source_deleted_at IS NULL FROM removed

-- Positions of names that a live row has with other texts. Texts are cut as the transform cuts them. A kind that is not
-- asked about costs no scan.
-- $1 tenant, and for each name: $2 kind, $3 id, $4 texts
WITH n AS (SELECT position::integer - 1 AS position, kind, id, texts
           FROM unnest($2::text[], $3::bigint[], $4::jsonb[])
                WITH ORDINALITY AS n (kind, id, texts, position)),
     a AS NOT MATERIALIZED (SELECT * FROM conversations_analytics
                            WHERE tenant_id = $1 AND source_deleted_at IS NULL AND source_epoch > 0)
SELECT n.position FROM n JOIN a ON n.kind = 'inbox' AND a.inbox_id = n.id
  AND (a.inbox_name, a.inbox_channel_type, a.inbox_timezone)
      IS DISTINCT FROM (nullif(left(texts->>0, 255), ''), nullif(left(texts->>1, 50), ''), left(texts->>2, 50))
UNION SELECT n.position FROM n JOIN a ON n.kind = 'account' AND a.account_id = n.id
  AND a.account_name IS DISTINCT FROM nullif(left(texts->>0, 255), '')
UNION SELECT n.position FROM n JOIN a ON n.kind = 'user' AND a.assignee_id = n.id
  AND (a.assignee_name, a.assignee_email)
      IS DISTINCT FROM (nullif(left(texts->>0, 255), ''), nullif(left(texts->>1, 255), ''))
UNION SELECT n.position FROM n JOIN a ON n.kind = 'team' AND a.team_id = n.id
  AND a.team_name IS DISTINCT FROM nullif(left(texts->>0, 255), '')
ORDER BY 1

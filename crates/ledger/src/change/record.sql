-- Records changes of a tenant's conversations. The tenant is locked before any number is given, and until the transaction ends:
-- a tenant's numbers become visible in their order.
-- $1 tenant, and for each change: $2 conversation, $3 kind, $4 names of changed columns (NULL: all), $5 its day, $6 its day before
WITH locked AS MATERIALIZED (
    SELECT id FROM tenants WHERE id = $1 FOR NO KEY UPDATE
)
INSERT INTO conversation_change
    (tenant_id, conversation_id, kind, changed_columns, conversation_date, previous_date)
SELECT locked.id, n.conversation_id, n.kind, string_to_array(n.changed_columns, ','), n.conversation_date,
       CASE WHEN n.previous_date <> n.conversation_date OR n.conversation_date IS NULL THEN n.previous_date END
FROM locked CROSS JOIN unnest($2::bigint[], $3::text[], $4::text[], $5::date[], $6::date[])
         AS n (conversation_id, kind, changed_columns, conversation_date, previous_date)
ORDER BY n.conversation_id

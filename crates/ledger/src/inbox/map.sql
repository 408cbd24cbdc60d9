-- Gives inboxes to a tenant, also from one other tenant. Inboxes of further tenants stay theirs.
-- $1 source, $2 tenant, and for each inbox: $3 id, $4 name, $5 channel type; $6 the other tenant (NULL: none)
INSERT INTO inbox_tenant_mapping (source, inbox_id, tenant_id, inbox_name, channel_type)
SELECT $1, inbox_id, $2, inbox_name, channel_type
FROM unnest($3::integer[], $4::text[], $5::text[]) AS new (inbox_id, inbox_name, channel_type)
ON CONFLICT (source, inbox_id) DO UPDATE
SET tenant_id = excluded.tenant_id, is_active = true, updated_at = now(),
    inbox_name = coalesce(excluded.inbox_name, inbox_tenant_mapping.inbox_name),
    channel_type = coalesce(excluded.channel_type, inbox_tenant_mapping.channel_type),
    backfilled_at = NULL, unmapped_at = NULL, gone_at = NULL, waiting_rows = 0
WHERE NOT inbox_tenant_mapping.is_active
   OR (inbox_tenant_mapping.tenant_id <> excluded.tenant_id
       AND (inbox_tenant_mapping.tenant_id = $6
            OR EXISTS (SELECT FROM tenants t
                       WHERE t.id = inbox_tenant_mapping.tenant_id AND t.deleted_at IS NOT NULL)))

-- Gives inboxes to a tenant, also from another tenant.
-- $1 source, $2 tenant, and for each inbox: $3 id, $4 name, $5 channel type
INSERT INTO inbox_tenant_mapping (source, inbox_id, tenant_id, inbox_name, channel_type)
SELECT $1, inbox_id, $2, inbox_name, channel_type
FROM unnest($3::integer[], $4::text[], $5::text[]) AS new (inbox_id, inbox_name, channel_type)
ON CONFLICT (source, inbox_id) DO UPDATE
SET tenant_id = excluded.tenant_id, is_active = true, updated_at = now(),
    inbox_name = coalesce(excluded.inbox_name, inbox_tenant_mapping.inbox_name),
    channel_type = coalesce(excluded.channel_type, inbox_tenant_mapping.channel_type),
    backfilled_at = NULL
WHERE inbox_tenant_mapping.tenant_id <> excluded.tenant_id OR NOT inbox_tenant_mapping.is_active

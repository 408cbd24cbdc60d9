CREATE OR REPLACE FUNCTION app_current_tenant_id() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN current_setting('app.current_tenant_id', true) ~ '^[0-9]{1,9}$'
                THEN current_setting('app.current_tenant_id', true)::integer END
$$;

GRANT UPDATE ON etl_fence TO etl_service;
GRANT DELETE ON tenants, inbox_tenant_mapping, etl_watermark, etl_source, etl_name, etl_agreement, etl_verification
    TO etl_service;
GRANT SELECT (tenant_id, watermark, advanced_at, checked_at) ON etl_watermark TO authenticated_users;
GRANT SELECT (inbox_id, tenant_id, inbox_name, channel_type, is_active, backfilled_at)
    ON inbox_tenant_mapping TO authenticated_users;
GRANT SELECT (name, slug, status) ON tenants TO authenticated_users;

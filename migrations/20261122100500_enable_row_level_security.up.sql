-- Conversation data: every role sees and writes only the tenant of app.current_tenant_id (admin_users read all).
-- Control tables: etl_service plans and closes runs for all tenants, authenticated_users read their own tenant's rows.
DO $$
DECLARE
    control text;
    own     text;
BEGIN
    FOREACH control IN ARRAY ARRAY['tenants', 'inbox_tenant_mapping', 'etl_control', 'etl_chunk', 'etl_watermark',
                                   'etl_watermark_audit', 'etl_rejected_row'] LOOP
        own := format('%I = (SELECT app_current_tenant_id())', CASE control WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', control);
        EXECUTE format('CREATE POLICY service ON %I TO etl_service USING (true) WITH CHECK (true)', control);
        EXECUTE format('CREATE POLICY own_tenant ON %I FOR SELECT TO authenticated_users USING (%s)', control, own);
        EXECUTE format('CREATE POLICY admin ON %I FOR SELECT TO admin_users USING (true)', control);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO etl_service', control);
        EXECUTE format('GRANT SELECT ON %I TO admin_users', control);
    END LOOP;
END
$$;

ALTER TABLE conversations_analytics ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON conversations_analytics TO etl_service
    USING (tenant_id = (SELECT app_current_tenant_id()))
    WITH CHECK (tenant_id = (SELECT app_current_tenant_id()));
CREATE POLICY own_tenant ON conversations_analytics FOR SELECT TO authenticated_users
    USING (tenant_id = (SELECT app_current_tenant_id()));
CREATE POLICY admin ON conversations_analytics FOR SELECT TO admin_users USING (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON conversations_analytics TO etl_service;
GRANT SELECT ON conversations_analytics, conversations_analytics_live TO authenticated_users, admin_users;
GRANT SELECT ON conversations_analytics_live TO etl_service;

-- What a tenant may know of its own runs: no request, no internals.
GRANT SELECT (id, name, slug, status, timezone) ON tenants TO authenticated_users;
GRANT SELECT (inbox_id, tenant_id, inbox_name, channel_type, is_active, backfilled_at)
    ON inbox_tenant_mapping TO authenticated_users;
GRANT SELECT (tenant_id, watermark, advanced_at, checked_at) ON etl_watermark TO authenticated_users;
GRANT SELECT (id, tenant_id, type, status, watermark_start, watermark_end, chunks_total, chunks_done, chunks_dead,
              records_extracted, records_inserted, records_updated, records_unchanged, records_stale,
              records_deleted, records_rejected, requested_at, started_at, finished_at)
    ON etl_control TO authenticated_users;

-- tables without a tenant
GRANT SELECT, INSERT, UPDATE, DELETE ON etl_source, etl_fence, etl_process TO etl_service;
GRANT SELECT ON etl_source, etl_fence, etl_process TO admin_users;
-- the processes check that the database is migrated; sqlx makes this table before the first migration
GRANT SELECT ON _sqlx_migrations TO etl_service;

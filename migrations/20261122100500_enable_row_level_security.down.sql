REVOKE ALL ON _sqlx_migrations FROM etl_service;
REVOKE ALL ON etl_source, etl_fence, etl_process FROM etl_service, admin_users;
REVOKE ALL ON etl_control, etl_watermark, inbox_tenant_mapping, tenants FROM authenticated_users;
REVOKE ALL ON conversations_analytics, conversations_analytics_live FROM etl_service, authenticated_users, admin_users;

DROP POLICY admin ON conversations_analytics;
DROP POLICY own_tenant ON conversations_analytics;
DROP POLICY service ON conversations_analytics;
ALTER TABLE conversations_analytics NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;

DO $$
DECLARE
    control text;
BEGIN
    FOREACH control IN ARRAY ARRAY['tenants', 'inbox_tenant_mapping', 'etl_control', 'etl_chunk', 'etl_watermark',
                                   'etl_watermark_audit', 'etl_rejected_row'] LOOP
        EXECUTE format('REVOKE ALL ON %I FROM etl_service, admin_users', control);
        EXECUTE format('DROP POLICY admin ON %I', control);
        EXECUTE format('DROP POLICY own_tenant ON %I', control);
        EXECUTE format('DROP POLICY service ON %I', control);
        EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY', control);
    END LOOP;
END
$$;

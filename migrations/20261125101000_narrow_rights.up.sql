-- Rights that nobody needs are taken back. Dashboards read their tenant's conversations, the live view with the time zone
-- that it needs, and the outcome of their runs; the processes delete only where they forget something.
REVOKE SELECT (name, slug, status) ON tenants FROM authenticated_users;
REVOKE SELECT (inbox_id, tenant_id, inbox_name, channel_type, is_active, backfilled_at)
    ON inbox_tenant_mapping FROM authenticated_users;
REVOKE SELECT (tenant_id, watermark, advanced_at, checked_at) ON etl_watermark FROM authenticated_users;
REVOKE DELETE ON tenants, inbox_tenant_mapping, etl_watermark, etl_source, etl_name, etl_agreement, etl_verification
    FROM etl_service;
REVOKE UPDATE ON etl_fence FROM etl_service;

-- Every id that a tenant may have, and names that no caller's search_path can turn into others.
CREATE OR REPLACE FUNCTION app_current_tenant_id() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN given.setting OPERATOR(pg_catalog.~) '^[0-9]{1,10}$' THEN
        CASE WHEN given.setting::pg_catalog.int8 OPERATOR(pg_catalog.<=) 2147483647
             THEN given.setting::pg_catalog.int4 END
    END
    FROM (SELECT pg_catalog.current_setting('app.current_tenant_id', true)) AS given (setting)
$$;

-- Since PostgreSQL 16 who makes a role is a member of it and may still not become it.
DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 160000 THEN
        IF NOT pg_has_role(current_user, 'etl_service', 'SET') THEN
            EXECUTE format('GRANT etl_service TO %I', current_user);
        END IF;
    END IF;
END
$$;

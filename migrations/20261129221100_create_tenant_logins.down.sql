DO $$
DECLARE
    live    text;
    visible CONSTANT text := 'a\.tenant_id = ANY \(ARRAY\( SELECT visible\.id.*?MEMBER''::text\)\)\)\)';
    asked   CONSTANT text := 'a.tenant_id = app_current_tenant_id() OR pg_has_role(CURRENT_USER, ''admin_users'', ''MEMBER'')';
BEGIN
    IF current_setting('server_version_num')::integer < 150000 THEN
        FOREACH live IN ARRAY ARRAY['conversations_analytics_live', 'messages_live', 'reporting_events_live'] LOOP
            EXECUTE format('CREATE OR REPLACE VIEW %I WITH (security_barrier = true) AS %s', live,
                           regexp_replace(pg_get_viewdef(live::regclass), visible, '(' || asked || ')'));
        END LOOP;
        IF EXISTS (SELECT FROM pg_policy WHERE polrelid = 'conversations_analytics'::regclass AND polname = 'live_view') THEN
            ALTER POLICY live_view ON conversations_analytics
                USING (tenant_id = (SELECT app_current_tenant_id()) OR pg_has_role(current_user, 'admin_users', 'MEMBER'));
        END IF;
    END IF;
END
$$;

-- Logins that were bound can set any tenant from here on: they lose the group that lets them read.
-- The owner's own policies would show it no row.
ALTER TABLE tenant_login NO FORCE ROW LEVEL SECURITY;
DO $$
DECLARE
    bound record;
BEGIN
    FOR bound IN SELECT login FROM tenant_login JOIN pg_roles ON rolname = login LOOP
        BEGIN
            EXECUTE format('REVOKE authenticated_users FROM %I', bound.login);
        EXCEPTION WHEN insufficient_privilege THEN NULL;
        END;
        IF pg_has_role(bound.login, 'authenticated_users', 'MEMBER') THEN
            RAISE EXCEPTION 'the login % could set any tenant, and % may not take its rights', bound.login, current_user
                USING ERRCODE = 'insufficient_privilege',
                      HINT = format('As a superuser run: REVOKE authenticated_users FROM %I;', bound.login);
        END IF;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION app_current_tenant_id() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN given.setting OPERATOR(pg_catalog.~) '^[0-9]{1,10}$' THEN
        CASE WHEN given.setting::pg_catalog.int8 OPERATOR(pg_catalog.<=) 2147483647
             THEN given.setting::pg_catalog.int4 END
    END
    FROM (SELECT pg_catalog.current_setting('app.current_tenant_id', true)) AS given (setting)
$$;

DROP TABLE tenant_login;

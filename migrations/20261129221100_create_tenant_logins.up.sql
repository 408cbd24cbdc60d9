-- Logins that see one tenant, whatever SQL they send. A role that policies name can be changed by SET ROLE, and a setting by SET;
-- session_user is changed by nothing but SET SESSION AUTHORIZATION, which takes a superuser.
--
-- A login with a row here has that tenant, and app.current_tenant_id says nothing. Every policy of ours asks
-- app_current_tenant_id(), and so do the views before PostgreSQL 15: all of them follow.
--
-- bound_users only marks such logins. A member without a row has no tenant: a login that was renamed, or that an administrator
-- has made before it was bound. Rights come from authenticated_users and enrichment_writer.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bound_users') THEN
        BEGIN
            CREATE ROLE bound_users NOLOGIN;
        EXCEPTION
            -- another database of this server is being migrated at the same moment
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'role bound_users is missing and % may not create it', current_user
                    USING ERRCODE = 'insufficient_privilege',
                          HINT = 'As a superuser run: CREATE ROLE bound_users NOLOGIN;';
        END;
    END IF;
END
$$;

CREATE TABLE tenant_login (
    login      name        NOT NULL,
    tenant_id  integer     NOT NULL,
    -- `tidemark tenant login add` has made the login, and `remove` drops it
    is_made    boolean     NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text        NOT NULL,
    CONSTRAINT tenant_login_pkey PRIMARY KEY (login),
    CONSTRAINT tenant_login_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id)
);

ALTER TABLE tenant_login ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON tenant_login TO etl_service USING (true) WITH CHECK (true);
CREATE POLICY console ON tenant_login TO console_service USING (true) WITH CHECK (true);
CREATE POLICY admin ON tenant_login FOR SELECT TO admin_users USING (true);
-- whoever asks for the current tenant reads its own row
CREATE POLICY own_login ON tenant_login FOR SELECT TO PUBLIC USING (login = session_user);
GRANT SELECT, INSERT, DELETE ON tenant_login TO etl_service, console_service;
GRANT SELECT ON tenant_login TO admin_users;
GRANT SELECT (login, tenant_id) ON tenant_login TO PUBLIC;

-- The tenant that policies show. Every name is qualified: a temporary table, or an operator of the caller's, would answer instead.
-- From PostgreSQL 14 on the body is stored parsed, and follows a schema that is renamed. Who has made bound_users is a member
-- with ADMIN OPTION since PostgreSQL 16, and is not bound.
DO $migration$
DECLARE
    body text := format($body$
SELECT CASE
    WHEN bound.tenant_id IS NOT NULL THEN bound.tenant_id
    WHEN EXISTS (SELECT FROM pg_catalog.pg_auth_members AS m
                 WHERE m.member OPERATOR(pg_catalog.=) pg_catalog.to_regrole(pg_catalog.quote_ident(session_user))
                   AND m.roleid OPERATOR(pg_catalog.=) pg_catalog.to_regrole('bound_users')
                   AND NOT m.admin_option) THEN NULL
    WHEN given.setting OPERATOR(pg_catalog.~) '^[0-9]{1,10}$' THEN
        CASE WHEN given.setting::pg_catalog.int8 OPERATOR(pg_catalog.<=) 2147483647
             THEN given.setting::pg_catalog.int4 END
END
FROM (SELECT pg_catalog.current_setting('app.current_tenant_id', true)) AS given (setting)
LEFT JOIN %I.tenant_login AS bound ON bound.login OPERATOR(pg_catalog.=) session_user
$body$, current_schema());
BEGIN
    EXECUTE 'CREATE OR REPLACE FUNCTION app_current_tenant_id() RETURNS integer LANGUAGE sql STABLE PARALLEL SAFE '
        || CASE WHEN current_setting('server_version_num')::integer >= 140000 THEN 'BEGIN ATOMIC ' || body || '; END'
                ELSE 'AS $function$' || body || '$function$' END;
END
$migration$;

-- Before PostgreSQL 15 the views ask for the tenant themselves, and so does the policy of their owner. They ask once now and not for
-- each row, since the answer takes a look into a table, and by a list of tenants, which an index serves where an OR does not.
DO $$
DECLARE
    live    text;
    visible CONSTANT text := '= ANY (ARRAY( SELECT visible.id FROM tenants visible WHERE visible.id = '
                             '( SELECT app_current_tenant_id()) OR pg_has_role(CURRENT_USER, ''admin_users'', ''MEMBER'')))';
BEGIN
    IF current_setting('server_version_num')::integer < 150000 THEN
        FOREACH live IN ARRAY ARRAY['conversations_analytics_live', 'messages_live', 'reporting_events_live'] LOOP
            EXECUTE format('CREATE OR REPLACE VIEW %I WITH (security_barrier = true) AS %s', live,
                           replace(pg_get_viewdef(live::regclass),
                                   '((a.tenant_id = app_current_tenant_id()) '
                                   'OR pg_has_role(CURRENT_USER, ''admin_users''::name, ''MEMBER''::text))',
                                   'a.tenant_id ' || visible));
            IF pg_get_viewdef(live::regclass) !~ 'visible' THEN
                RAISE EXCEPTION 'the view % is not the one of the migrations', live;
            END IF;
        END LOOP;
        IF EXISTS (SELECT FROM pg_policy WHERE polrelid = 'conversations_analytics'::regclass AND polname = 'live_view') THEN
            EXECUTE 'ALTER POLICY live_view ON conversations_analytics USING (tenant_id ' || visible || ')';
        END IF;
    END IF;
END
$$;

-- Problems with the isolation of tenants that the catalog shows: whether processes refuse to start, the case (one of
-- `IsolationFault`) with the names in its sentence, and the statement that fixes it. Names are quoted as the server quotes them. Tables of somebody else are left alone.
-- $1 text[]  names of the tables of the migrations
WITH login AS (
    SELECT * FROM pg_roles WHERE rolname = session_user
), bound_role AS (
    -- roles that the policies must apply to
    SELECT * FROM pg_roles WHERE rolname IN (current_user, 'etl_service', 'console_service', 'authenticated_users', 'bound_users',
                                               'enrichment_writer')
), ledger_schema AS (
    SELECT relnamespace AS oid FROM pg_class WHERE oid = 'tenants'::regclass
), own_table AS (
    SELECT oid FROM pg_class WHERE relnamespace = (SELECT oid FROM ledger_schema) AND relname = ANY($1)
    UNION SELECT relid FROM pg_partition_tree('conversations_analytics')
), tenant_table AS (
    -- tables with a tenant that one of these roles can use; other tables do not matter here
    SELECT c.*, c.oid::regclass AS name FROM pg_class c
    WHERE c.oid IN (SELECT oid FROM own_table) AND c.relkind IN ('r', 'p')
      AND (c.oid = 'tenants'::regclass
           OR EXISTS (SELECT FROM pg_attribute a
                      WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped))
      AND EXISTS (SELECT FROM bound_role h
                  WHERE has_any_column_privilege(h.oid, c.oid, 'SELECT, INSERT, UPDATE')
                     OR has_table_privilege(h.oid, c.oid, 'DELETE, TRUNCATE'))
)
SELECT true AS stops_start,
       'login_is_superuser' AS fault, ARRAY[format('%I', rolname)] AS names,
       'CREATE ROLE tidemark LOGIN PASSWORD ''…''; GRANT etl_service TO tidemark; -- and connect as tidemark' AS fix
FROM login WHERE rolsuper
UNION ALL
SELECT true, 'login_bypasses', ARRAY[format('%I', rolname)], format('ALTER ROLE %I NOBYPASSRLS;', rolname)
FROM login WHERE rolbypassrls AND NOT rolsuper
UNION ALL
SELECT true, 'login_can_become', ARRAY[format('%I', login.rolname), format('%I', r.rolname)],
       format('REVOKE %I FROM %I;', r.rolname, login.rolname)
FROM login JOIN pg_roles r ON (r.rolsuper OR r.rolbypassrls) AND r.oid <> login.oid
    AND NOT EXISTS (SELECT FROM bound_role WHERE bound_role.oid = r.oid) AND pg_has_role(login.oid, r.oid, 'MEMBER')
WHERE NOT login.rolsuper
UNION ALL
SELECT true, 'role_is_superuser', ARRAY[format('%I', rolname)], format('ALTER ROLE %I NOSUPERUSER;', rolname)
FROM bound_role WHERE rolsuper AND rolname <> session_user
UNION ALL
SELECT true, 'role_bypasses', ARRAY[format('%I', rolname)], format('ALTER ROLE %I NOBYPASSRLS;', rolname)
FROM bound_role WHERE rolbypassrls AND NOT rolsuper AND rolname <> session_user
UNION ALL
SELECT true, 'role_sees_more', ARRAY[format('%I', bound_role.rolname), format('%I', r.rolname)],
       format('REVOKE %I FROM %I;', r.rolname, bound_role.rolname)
FROM bound_role JOIN pg_roles r ON r.oid <> bound_role.oid AND pg_has_role(bound_role.oid, r.oid, 'MEMBER')
    AND (r.rolname = 'admin_users' OR r.rolname IN ('etl_service', 'console_service')
         AND bound_role.rolname IN ('authenticated_users', 'bound_users', 'enrichment_writer'))
WHERE NOT bound_role.rolsuper
UNION ALL
SELECT true, 'off', ARRAY[name::text],
       format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;', name)
FROM tenant_table WHERE NOT relrowsecurity
UNION ALL
SELECT true, 'not_forced', ARRAY[name::text, format('%I', pg_get_userbyid(relowner))],
       format('ALTER TABLE %s FORCE ROW LEVEL SECURITY;', name)
FROM tenant_table WHERE relrowsecurity AND NOT relforcerowsecurity
UNION ALL
-- policies are joined with OR: one extra policy, or one for an extra role, opens what the others close
SELECT true, 'foreign_policy', ARRAY[format('%I', p.polname), o.name::text],
       CASE WHEN m.rolname IS NULL THEN format('DROP POLICY %I ON %s;', p.polname, o.name)
            ELSE format('ALTER POLICY %I ON %s TO %I;', p.polname, o.name, m.rolname) END
FROM tenant_table o JOIN pg_policy p ON p.polrelid = o.oid AND p.polpermissive
LEFT JOIN (pg_roles m JOIN (VALUES ('service', 'etl_service'), ('console', 'console_service'), ('own_tenant', 'authenticated_users'),
                            ('admin', 'admin_users'), ('enrichment', 'enrichment_writer'))
               AS meant (policy, role) ON m.rolname = meant.role) ON meant.policy = p.polname
WHERE p.polroles IS DISTINCT FROM ARRAY[m.oid]
  -- every role reads which tenant its login is bound to
  AND NOT (p.polname = 'own_login' AND o.relname = 'tenant_login' AND p.polcmd = 'r'
           AND pg_get_expr(p.polqual, p.polrelid) = '(login = SESSION_USER)')
  AND EXISTS (SELECT FROM unnest(p.polroles) AS r (oid)
              WHERE r.oid = 0 OR EXISTS (SELECT FROM bound_role
                                         WHERE bound_role.oid = r.oid OR NOT bound_role.rolsuper AND pg_has_role(bound_role.oid, r.oid, 'USAGE')))
UNION ALL
SELECT true, 'tenant_is_set', ARRAY[format('%L', current_setting('app.current_tenant_id', true))],
       format('ALTER DATABASE %I RESET app.current_tenant_id; ALTER ROLE %I RESET app.current_tenant_id; '
              'ALTER ROLE %2$I IN DATABASE %1$I RESET app.current_tenant_id; -- or where pg_db_role_setting has it',
              current_database(), session_user)
WHERE current_setting('app.current_tenant_id', true) <> ''
UNION ALL
-- a view reads as its owner unless it says otherwise; before 15 the view of the migrations has its own filter
SELECT false, 'view_shows_all', ARRAY[c.oid::regclass::text],
       CASE WHEN current_setting('server_version_num')::integer >= 150000 AND c.relkind = 'v'
            THEN format('ALTER VIEW %s SET (security_invoker = true);', c.oid::regclass)
            ELSE format('REVOKE ALL ON %s FROM authenticated_users, etl_service, PUBLIC;', c.oid::regclass) END
FROM pg_class c JOIN pg_roles owner ON owner.oid = c.relowner
WHERE (c.relkind = 'm' OR c.relkind = 'v' AND (owner.rolsuper OR owner.rolbypassrls
                              OR EXISTS (SELECT FROM pg_roles a WHERE a.rolname = 'admin_users'
                                                                  AND pg_has_role(owner.oid, a.oid, 'USAGE')))
                          AND NOT coalesce(c.reloptions, '{}') && ARRAY['security_invoker=true', 'security_invoker=on', 'security_invoker=1'])
  AND NOT (c.relname = ANY ('{conversations_analytics_live,messages_live,reporting_events_live}')
           AND current_setting('server_version_num')::integer < 150000)
  AND EXISTS (SELECT FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
              WHERE w.ev_class = c.oid AND d.refobjid IN (SELECT oid FROM tenant_table))
  AND EXISTS (SELECT FROM bound_role WHERE NOT bound_role.rolsuper AND has_any_column_privilege(bound_role.oid, c.oid, 'SELECT'))
UNION ALL
SELECT true, power.fault, format('%I', bound.login) || power.names, power.fix
FROM (SELECT u.oid, u.rolname AS login, u.rolsuper, u.rolbypassrls FROM pg_roles u
      WHERE EXISTS (SELECT FROM tenant_login l WHERE l.login = u.rolname)
         OR EXISTS (SELECT FROM pg_auth_members g JOIN pg_roles r ON r.oid = g.roleid AND r.rolname = 'bound_users'
                    WHERE g.member = u.oid AND NOT g.admin_option)) AS bound
CROSS JOIN LATERAL (
    SELECT 'bound_bypasses' AS fault, '{}'::text[] AS names,
           format('ALTER ROLE %I NOSUPERUSER NOBYPASSRLS;', bound.login) AS fix WHERE bound.rolsuper OR bound.rolbypassrls
    UNION ALL
    SELECT 'bound_can_become', ARRAY[format('%I', r.rolname)], format('REVOKE %I FROM %I;', r.rolname, bound.login)
    FROM pg_roles r
    WHERE (r.rolsuper OR r.rolbypassrls OR r.rolname IN ('etl_service', 'console_service', 'admin_users'))
      AND r.oid <> bound.oid AND NOT bound.rolsuper AND pg_has_role(bound.oid, r.oid, 'MEMBER')) AS power
UNION ALL
SELECT false, 'off_beside', ARRAY[c.oid::regclass::text],
       format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY; -- with the policies of "Enrichment" in docs/data.md', c.oid::regclass)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'enrichment'
WHERE c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
  AND EXISTS (SELECT FROM bound_role WHERE NOT bound_role.rolsuper AND has_any_column_privilege(bound_role.oid, c.oid, 'SELECT, INSERT, UPDATE'))
UNION ALL
SELECT false, 'tenants_may_write', ARRAY[name::text],
       format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON %s FROM authenticated_users, PUBLIC;', name)
FROM tenant_table, bound_role
WHERE bound_role.rolname = 'authenticated_users' AND NOT bound_role.rolsuper
  AND has_table_privilege(bound_role.oid, tenant_table.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
UNION ALL
SELECT false, 'tenants_may_create', ARRAY[format('%I', n.nspname)],
       format('REVOKE CREATE ON SCHEMA %I FROM authenticated_users, PUBLIC;', n.nspname)
FROM pg_namespace n, bound_role
WHERE n.oid = (SELECT oid FROM ledger_schema) AND bound_role.rolname = 'authenticated_users' AND NOT bound_role.rolsuper
  AND has_schema_privilege(bound_role.oid, n.oid, 'CREATE')
UNION ALL
-- the script may have left them as logins, with a password that others know; here they are groups
SELECT false, 'group_may_log_in', ARRAY[format('%I', rolname)],
       CASE WHEN rolname = session_user
            THEN format('CREATE ROLE tidemark LOGIN PASSWORD ''…''; GRANT %I TO tidemark; -- connect as tidemark, then: '
                        'ALTER ROLE %1$I NOLOGIN;', rolname)
            ELSE format('ALTER ROLE %I NOLOGIN; -- and GRANT %1$I to the logins that need it', rolname) END
FROM pg_roles WHERE rolcanlogin AND rolname IN ('etl_service', 'console_service', 'authenticated_users', 'admin_users', 'bound_users',
                                    'enrichment_writer')
UNION ALL
SELECT false, 'login_may_grant', ARRAY[format('%I', rolname)],
       format('ALTER ROLE %I NOCREATEROLE; -- after `tidemark migrate`', rolname)
FROM login WHERE rolcreaterole AND NOT rolsuper AND current_setting('server_version_num')::integer < 160000

-- What a login of this name may do that a login of one tenant may not; no row when there is no such login.
-- $1 name
SELECT r.rolcanlogin AS can_log_in, array_remove(ARRAY[
           CASE WHEN r.rolsuper THEN 'is a superuser' END,
           CASE WHEN r.rolbypassrls THEN 'has BYPASSRLS' END,
           CASE WHEN r.rolcreaterole THEN 'has CREATEROLE' END,
           CASE WHEN r.rolreplication THEN 'has REPLICATION' END,
           CASE WHEN r.rolname = session_user THEN 'is the login of this command' END,
           CASE WHEN EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = (SELECT relnamespace FROM pg_class
                                                                            WHERE oid = 'tenants'::regclass)
                                                      AND c.relowner = r.oid) THEN 'owns tables here' END
       ], NULL) || ARRAY(
           SELECT format('is a member of %s', o.rolname) FROM pg_roles o
           WHERE o.oid <> r.oid AND NOT r.rolsuper AND pg_has_role(r.oid, o.oid, 'MEMBER')
             AND (o.rolsuper OR o.rolbypassrls OR o.rolcreaterole OR o.rolreplication OR starts_with(o.rolname::text, 'pg_')
                  OR o.rolname IN ('etl_service', 'console_service', 'admin_users'))
           ORDER BY o.rolname) AS powers
FROM pg_roles r WHERE r.rolname = $1

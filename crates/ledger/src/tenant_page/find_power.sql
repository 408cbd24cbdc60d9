-- Why the login is no login for a tenant's page alone: row-level security does not bind it, or it can become another role.
SELECT format('%I %s', me.rolname, coalesce(
           CASE WHEN me.rolsuper THEN 'is a superuser' WHEN me.rolbypassrls THEN 'has BYPASSRLS' END,
           'can become ' || string_agg(quote_ident(other.rolname), ', ' ORDER BY other.rolname)))
FROM pg_roles AS me
LEFT JOIN pg_roles AS other ON other.oid <> me.oid AND other.rolname <> 'authenticated_users' AND NOT me.rolsuper
    AND (other.rolsuper OR other.rolbypassrls OR other.rolname IN ('etl_service', 'console_service', 'admin_users'))
    AND pg_has_role(me.oid, other.oid, 'MEMBER')
WHERE me.rolname = session_user AND (me.rolsuper OR me.rolbypassrls OR other.oid IS NOT NULL)
GROUP BY me.rolname, me.rolsuper, me.rolbypassrls

-- Logins that are bound to a tenant, with what is left of them on the server.
-- $1 tenant (NULL: all)
SELECT l.login::text AS login, l.tenant_id, l.is_made, l.created_at, l.created_by,
       CASE WHEN r.oid IS NULL THEN 'there is no such login: it was dropped or renamed'
            WHEN NOT r.rolcanlogin THEN 'it may not log in'
            WHEN NOT g.is_reader THEN 'it is no member of authenticated_users, and reads nothing'
            WHEN NOT g.is_marked THEN 'it is no member of bound_users: once it is renamed it can set any tenant'
       END AS problem,
       coalesce(g.is_writer, false) AS writes_enrichment
FROM tenant_login l
LEFT JOIN pg_roles r ON r.rolname = l.login
LEFT JOIN LATERAL (
    SELECT coalesce(bool_or(o.rolname = 'authenticated_users'), false) AS is_reader,
           coalesce(bool_or(o.rolname = 'bound_users'), false) AS is_marked,
           coalesce(bool_or(o.rolname = 'enrichment_writer'), false) AS is_writer
    FROM pg_auth_members m JOIN pg_roles o ON o.oid = m.roleid WHERE m.member = r.oid
) g ON true
WHERE $1::integer IS NULL OR l.tenant_id = $1
ORDER BY l.tenant_id, l.login

-- Tables that admin_users cannot read whole, so that a dump by one of its members would lack rows: the case (one of
-- `BackupFault`) with the names in its sentence, and what gives the rows back.
-- $1 text[]  names of the tables of the migrations
WITH own_table AS (
    SELECT oid FROM pg_class
    WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'tenants'::regclass) AND relname = ANY($1)
    UNION SELECT relid FROM pg_partition_tree('conversations_analytics')
), backed_up AS (
    SELECT c.oid, c.relrowsecurity, c.oid::regclass AS name FROM pg_class c JOIN own_table USING (oid)
    WHERE c.relkind IN ('r', 'p')
), reader AS (
    SELECT oid FROM pg_roles WHERE rolname = 'admin_users'
), applied AS (
    -- policies for a SELECT of admin_users
    SELECT p.* FROM pg_policy p, reader
    WHERE p.polcmd IN ('r', '*')
      AND EXISTS (SELECT FROM unnest(p.polroles) AS r (oid)
                  WHERE r.oid = 0 OR pg_has_role(reader.oid, r.oid, 'USAGE'))
)
SELECT 'no_policy' AS fault, ARRAY[name::text] AS names,
       format('DROP POLICY IF EXISTS admin ON %s; CREATE POLICY admin ON %1$s FOR SELECT TO admin_users USING (true);',
              name) AS fix
FROM backed_up b, reader
WHERE relrowsecurity
  AND NOT EXISTS (SELECT FROM applied p WHERE p.polrelid = b.oid AND p.polpermissive
                  AND pg_get_expr(p.polqual, p.polrelid) = 'true')
UNION ALL
SELECT 'restrictive', ARRAY[format('%I', polname), name::text],
       format('DROP POLICY %I ON %s; -- or ALTER POLICY %1$I ON %2$s TO the roles that it is for', polname, name)
FROM backed_up b JOIN applied p ON p.polrelid = b.oid AND NOT p.polpermissive
WHERE relrowsecurity
UNION ALL
SELECT 'not_readable', ARRAY[name::text],
       format('GRANT SELECT ON %s TO admin_users;', name)
FROM backed_up b, reader
WHERE NOT has_table_privilege(reader.oid, b.oid, 'SELECT')
ORDER BY fault, names

-- Objects with names that the migrations need, in the schema where they create theirs, and the statements that move them
-- to the schema `legacy`: the schema with the rights of this one, then each object. Rights on objects move with them.
-- $1 text[]  names of tables and views
-- $2 text[]  names of types
-- $3 text[]  functions with the types of their arguments
WITH here AS (
    SELECT * FROM pg_namespace WHERE nspname = current_schema()
), found (position, name, statement) AS (
    SELECT 1, relname, format('ALTER %s %I SET SCHEMA legacy;',
                              CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                                           WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END, relname)
    FROM pg_class JOIN here ON here.oid = relnamespace
    WHERE relname = ANY($1) AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
    UNION ALL
    SELECT 2, typname, format('ALTER TYPE %I SET SCHEMA legacy;', typname)
    FROM pg_type JOIN here ON here.oid = typnamespace WHERE typname = ANY($2) AND typtype IN ('e', 'd', 'r', 'b')
    UNION ALL
    SELECT 3, proname, format('ALTER FUNCTION %I(%s) SET SCHEMA legacy;', proname, pg_get_function_identity_arguments(pg_proc.oid))
    FROM pg_proc JOIN here ON here.oid = pronamespace
    WHERE format('%s(%s)', proname, array_to_string(proargtypes::regtype[], ',')) = ANY($3)
), step (position, name, statement) AS (
    SELECT -1, NULL, 'CREATE SCHEMA legacy;' WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'legacy')
    UNION ALL
    -- roles that may use the schema of these objects get the same right on the other schema
    SELECT 0, NULL, format('GRANT USAGE ON SCHEMA legacy TO %s;',
                           string_agg(DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
                                      ', '))
    FROM here, aclexplode(nspacl) WHERE privilege_type = 'USAGE' AND grantee <> nspowner
    HAVING count(*) > 0
    UNION ALL
    SELECT position, name::text, statement FROM found
)
SELECT name::text, statement FROM step WHERE EXISTS (SELECT FROM found) ORDER BY position, name

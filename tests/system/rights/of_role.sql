-- All rights of a role on relations outside the system schemas: `table privileges`, or `table (columns) privileges`.
-- $1 name  the role
SELECT c.relname || ' ' || string_agg(right_, ',' ORDER BY right_)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
     unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS right_
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_t'
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND has_table_privilege($1, c.oid, right_) GROUP BY c.relname
UNION ALL
SELECT format('%s (%s) %s', c.relname, string_agg(a.attname, ',' ORDER BY a.attname), right_)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped,
     unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS right_
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_t'
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT has_table_privilege($1, c.oid, right_)
  AND has_column_privilege($1, c.oid, a.attnum, right_) GROUP BY c.relname, right_
ORDER BY 1

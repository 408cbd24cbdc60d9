-- What the catalog has of these columns, in their order. A domain counts as its base type. Views and foreign tables show no
-- version of a row, and a login with rights on single columns may not read it.
-- $1 tables, and for each: $2 a column
SELECT c.oid IS NOT NULL AS has_table,
       format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) AS type_name,
       t.typcategory::text AS category,
       has_column_privilege(a.attrelid, a.attnum, 'SELECT') AS is_readable,
       CASE WHEN r.relkind IN ('r', 'p', 'm') THEN has_column_privilege(r.oid, 'xmin', 'SELECT') ELSE false END
           AS has_versions,
       EXISTS (SELECT FROM pg_index i
               WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indisvalid AND i.indpred IS NULL) AS is_indexed
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (table_name, column_name, position)
CROSS JOIN LATERAL (SELECT to_regclass(quote_ident(w.table_name))::oid AS oid) c
LEFT JOIN pg_class r ON r.oid = c.oid
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = w.column_name AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type t ON t.oid = a.atttypid
ORDER BY w.position

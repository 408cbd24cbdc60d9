-- The table $1 and all its partitions, the table first, each with its part of the index $2. A partition's part is the one that is
-- attached, whatever its name; else it has the name that a migration gives it.
WITH RECURSIVE part AS (
    SELECT to_regclass($1)::oid AS relation, to_regclass($2)::oid AS index, NULL::oid AS parent, false AS is_attached, 0 AS level
    UNION ALL
    SELECT child.inhrelid, coalesce(attached.indexrelid, named.oid), part.relation, attached.indexrelid IS NOT NULL,
           part.level + 1
    FROM part
    JOIN pg_inherits child ON child.inhparent = part.relation
    LEFT JOIN LATERAL (SELECT i.indexrelid FROM pg_index i JOIN pg_inherits h ON h.inhrelid = i.indexrelid
                       WHERE i.indrelid = child.inhrelid AND h.inhparent = part.index) attached ON true
    LEFT JOIN pg_class named ON named.relname = left($2, 50) || '_' || child.inhrelid
                            AND named.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = child.inhrelid)
)
SELECT format('%I.%I', space.nspname, relation.relname) AS relation, relation.relkind <> 'p' AS is_leaf,
       -- an index is always in the schema of its table, and CREATE INDEX takes no schema
       CASE WHEN part.level = 0 THEN $2 WHEN part.index IS NULL THEN quote_ident(left($2, 50) || '_' || part.relation)
            ELSE part.index::regclass::text END AS index,
       part.index IS NOT NULL AS index_exists,
       CASE WHEN part.level = 1 THEN $2
            WHEN part.level > 1 THEN coalesce(above.index::regclass::text, quote_ident(left($2, 50) || '_' || part.parent))
       END AS parent_index,
       part.is_attached
FROM part
JOIN pg_class relation ON relation.oid = part.relation
JOIN pg_namespace space ON space.oid = relation.relnamespace
LEFT JOIN part above ON above.relation = part.parent
WHERE relation.relkind IN ('p', 'r')
ORDER BY part.level, part.relation

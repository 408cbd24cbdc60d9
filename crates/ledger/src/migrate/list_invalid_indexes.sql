-- Indexes of these names that are not complete, and whether they belong to a partitioned table, where an operator is making
-- them part by part.
SELECT relation.relname::text, relation.relkind = 'I'
FROM pg_index index JOIN pg_class relation ON relation.oid = index.indexrelid
WHERE relation.relnamespace = current_schema()::regnamespace AND relation.relname = ANY($1) AND NOT index.indisvalid

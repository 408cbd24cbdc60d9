-- Whether a tenant's first full run has added more than autovacuum's tenth to the target since the last ANALYZE, and who may
-- run it: the owner, from PostgreSQL 17 on also a role with MAINTAIN. The role of the fleet comes first, then the login.
WITH target AS (
    SELECT c.oid, c.relowner, greatest(c.reltuples, 0) AS known_rows,
           format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass('conversations_analytics')),
analyzed AS (
    -- a partitioned table has no statistics of its own before PostgreSQL 14
    SELECT max(greatest(s.last_analyze, s.last_autoanalyze)) AS at
    FROM target t, pg_stat_all_tables s
    WHERE s.relid = t.oid OR s.relid IN (SELECT relid FROM pg_partition_tree(t.oid)))
SELECT t.name, c.columns, may.by_role, may.by_login
FROM target t, analyzed a, LATERAL (
    -- The columns of the table's indexes, by which our statements and most reports find rows. The time grows with the square of the
    -- columns: all 170 would take a third of the time of the run. Autovacuum does not count this ANALYZE, and analyzes all of them.
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns
    FROM pg_attribute a
    WHERE a.attrelid = t.oid AND a.attnum > 0
      AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.oid AND a.attnum = ANY (i.indkey))) c, LATERAL (
    SELECT pg_has_role(current_user, t.relowner, 'USAGE') OR maintain.by_role AS by_role,
           pg_has_role(session_user, t.relowner, 'USAGE') OR maintain.by_login AS by_login
    FROM (SELECT CASE WHEN is_17 THEN has_table_privilege(current_user, t.oid, right_name) ELSE false END AS by_role,
                 CASE WHEN is_17 THEN has_table_privilege(session_user, t.oid, right_name) ELSE false END AS by_login
          FROM (SELECT current_setting('server_version_num')::integer >= 170000 AS is_17,
                       'MAINTAIN' AS right_name) server) maintain) may
WHERE EXISTS (
    SELECT FROM etl_control r
    WHERE r.type = 'full' AND r.watermark_start IS NULL AND r.status IN ('success', 'partial')
      AND r.finished_at > greatest(a.at, now() - interval '1 day')
      AND r.records_inserted > 50 + t.known_rows / 10)

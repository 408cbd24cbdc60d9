-- Runs conversations.sql over fixtures.sql and compares with expected.sql. From the top of the repository, on any database,
-- in which it leaves nothing behind:
--
--   psql -X -f tests/reference/check.sql DATABASE_URL

\set ON_ERROR_STOP on
\set QUIET on
\set query `cat tests/reference/conversations.sql`

BEGIN;
SET LOCAL client_encoding = 'UTF8';
SET LOCAL TimeZone = 'UTC';
CREATE SCHEMA reference_check;
SET LOCAL search_path = reference_check, pg_temp;

\ir ../../crates/sample/src/schema.sql
\ir ../../crates/sample/src/indexes.sql
\ir fixtures.sql

PREPARE reference (int[], int, text) AS :query;
CREATE TEMP TABLE actual_1 AS EXECUTE reference ('{11,12,13,14,15}', 1, 'UTC');
CREATE TEMP TABLE actual_2 AS EXECUTE reference ('{21}', 2, 'America/Sao_Paulo');
CREATE TEMP TABLE actual_3 AS EXECUTE reference ('{31}', 3, 'Europe/Lisbon');
CREATE TEMP TABLE actual_4 AS EXECUTE reference ('{41}', 4, 'Asia/Kathmandu');
DEALLOCATE reference;
CREATE TEMP VIEW actual AS
    TABLE actual_1 UNION ALL TABLE actual_2 UNION ALL TABLE actual_3 UNION ALL TABLE actual_4;

\ir expected.sql

DO $$
BEGIN
    IF EXISTS (SELECT FROM difference) THEN
        RAISE EXCEPTION 'conversations.sql and expected.sql differ';
    END IF;
END
$$;
ROLLBACK;

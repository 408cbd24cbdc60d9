-- Lets conversations.sql run on an older Chatwoot. Temporary views with the names of the tables show each column that the
-- tables lack as NULL; a session finds them before the tables. They show whatever else the tables have as it is. The
-- columns of a table that the query reads and that Chatwoot 2.0 does not have are listed here.
--
-- Run it in a transaction that is rolled back, or in a session that ends.

DO $$
DECLARE
    older record;
BEGIN
    FOR older IN
        SELECT list.table_name, string_agg(format('NULL::%s AS %I', list.type, list.column_name), ', ') AS absent
        FROM (VALUES
            ('conversations', 'first_reply_created_at', 'timestamp'),
            ('conversations', 'priority', 'integer'),
            ('conversations', 'waiting_since', 'timestamp'),
            ('conversations', 'cached_label_list', 'text'),
            ('messages', 'sentiment', 'jsonb')
        ) AS list (table_name, column_name, type)
        WHERE NOT EXISTS (
            SELECT
            FROM pg_attribute AS a
            WHERE a.attrelid = to_regclass(list.table_name) AND a.attname = list.column_name AND NOT a.attisdropped
        )
        GROUP BY list.table_name
    LOOP
        EXECUTE format(
            'CREATE TEMP VIEW %1$I AS SELECT source.*, %2$s FROM %3$s AS source',
            older.table_name, older.absent, to_regclass(older.table_name)
        );
    END LOOP;
END
$$

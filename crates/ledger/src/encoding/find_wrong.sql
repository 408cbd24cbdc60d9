-- The encoding of this database, unless it is UTF8, and the statement for another database. Where the server's own locale
-- does not allow UTF8, the statement names one that does.
SELECT pg_encoding_to_char(here.encoding)::text AS encoding,
       format('CREATE DATABASE %I OWNER %I ENCODING ''UTF8'' TEMPLATE template0%s;', here.datname || '_utf8',
              pg_get_userbyid(here.datdba),
              CASE WHEN template.encoding <> pg_char_to_encoding('UTF8') AND template.datctype NOT IN ('C', 'POSIX')
                   THEN ' LC_COLLATE ''C'' LC_CTYPE ''C''' ELSE '' END) AS statement
FROM pg_database here, pg_database template
WHERE here.datname = current_database() AND template.datname = 'template0'
  AND here.encoding <> pg_char_to_encoding('UTF8')

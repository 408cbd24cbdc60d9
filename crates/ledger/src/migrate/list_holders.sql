-- Sessions with locks on Tidemark's relations, the oldest transaction first. A login sees only its own sessions' names and
-- times, unless it may read all statistics.
SELECT 'session ' || holder.pid
       || coalesce(' of ' || nullif(activity.application_name, ''), '')
       || coalesce(', in a transaction for '
                   || extract(epoch FROM clock_timestamp() - activity.xact_start)::integer || ' s', '')
FROM (SELECT DISTINCT locks.pid
      FROM pg_locks locks JOIN pg_class relation ON relation.oid = locks.relation
      WHERE locks.granted AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND relation.relnamespace = current_schema()::regnamespace AND locks.pid <> pg_backend_pid()) holder
     LEFT JOIN pg_stat_activity activity ON activity.pid = holder.pid
ORDER BY activity.xact_start, holder.pid
LIMIT 3

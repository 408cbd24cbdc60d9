-- no-transaction
DROP INDEX CONCURRENTLY IF EXISTS conversations_analytics_waiting_idx;

-- no-transaction
DROP INDEX CONCURRENTLY IF EXISTS conversations_analytics_day_idx;

-- no-transaction
-- works from: 20261129194200
-- contract: conversations_analytics_day_idx of 20261129235100 serves its queries, in every release
-- An index of the same columns that only costs writes.
DROP INDEX CONCURRENTLY IF EXISTS conversations_analytics_date_idx;

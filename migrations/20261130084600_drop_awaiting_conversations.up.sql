-- no-transaction
-- works from: 20261129194200
-- contract: conversations_analytics_waiting_idx of 20261130084500 serves its queries, in every release
-- An index of the same conversations without the columns that are counted and filtered by.
DROP INDEX CONCURRENTLY IF EXISTS conversations_analytics_awaiting_idx;

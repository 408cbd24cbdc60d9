CREATE VIEW conversations_analytics_live WITH (security_invoker = true) AS SELECT c.* FROM conversations_analytics c WHERE source_deleted_at IS NULL;

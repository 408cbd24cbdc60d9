-- Deletes old entries of the feed of changes, and records how far each tenant's was pruned: a reader who stands before that is told
-- so. What conversation_daily lacks stays.
-- $1 age in seconds, $2 most rows
WITH old AS MATERIALIZED (
    SELECT c.tenant_id, c.change_id
    FROM conversation_change c LEFT JOIN conversation_feed f ON f.tenant_id = c.tenant_id
    WHERE c.changed_at < now() - make_interval(secs => $1) AND (f.summarized_to IS NULL OR c.change_id <= f.summarized_to)
    LIMIT $2
), gone AS (
    DELETE FROM conversation_change c USING old WHERE (c.tenant_id, c.change_id) = (old.tenant_id, old.change_id)
    RETURNING c.tenant_id, c.change_id
), noted AS (
    INSERT INTO conversation_feed AS f (tenant_id, pruned_to)
    SELECT tenant_id, max(change_id) FROM gone GROUP BY tenant_id ORDER BY tenant_id
    ON CONFLICT (tenant_id) DO UPDATE SET pruned_to = greatest(f.pruned_to, EXCLUDED.pruned_to)
)
SELECT count(*) FROM gone

-- Tenants whose sums by day lack changes, or were never computed.
SELECT t.id
FROM tenants t LEFT JOIN conversation_feed f ON f.tenant_id = t.id
WHERE CASE WHEN f.summarized_to IS NULL
           THEN EXISTS (SELECT FROM etl_control r WHERE r.tenant_id = t.id)
                OR EXISTS (SELECT FROM conversation_change c WHERE c.tenant_id = t.id)
           ELSE EXISTS (SELECT FROM conversation_change c WHERE c.tenant_id = t.id AND c.change_id > f.summarized_to) END
ORDER BY t.id

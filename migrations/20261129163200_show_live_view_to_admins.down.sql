DROP POLICY IF EXISTS live_view ON tenants;
DROP POLICY IF EXISTS live_view ON conversations_analytics;

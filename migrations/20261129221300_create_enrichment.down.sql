-- Roles and their rights on a schema stay. The schema goes only when it is empty: its tables are somebody else's.
DROP SCHEMA enrichment;
DROP POLICY enrichment ON conversations_analytics;
DROP POLICY enrichment ON conversation_change;
DROP POLICY enrichment ON conversation_feed;
DROP POLICY enrichment ON tenants;
REVOKE ALL ON conversations_analytics, conversations_analytics_live, messages_live, reporting_events_live,
              conversation_change, conversation_feed FROM enrichment_writer;
REVOKE ALL (id, name, timezone) ON tenants FROM enrichment_writer;

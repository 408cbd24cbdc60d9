ALTER TABLE conversations_analytics DROP COLUMN contact_digest;

ALTER TABLE conversations_analytics DROP COLUMN row_digest, DROP COLUMN related_digest;

ALTER TABLE conversation_feed DROP COLUMN summarized_to;
DROP TABLE conversation_daily;

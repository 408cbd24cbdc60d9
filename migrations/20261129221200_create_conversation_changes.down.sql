DROP FUNCTION changes_since(integer, text, integer);
DROP TABLE conversation_feed;
DROP TABLE conversation_change;

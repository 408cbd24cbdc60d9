DROP TABLE etl_withheld_conversation;
DROP TABLE etl_forgotten_contact;

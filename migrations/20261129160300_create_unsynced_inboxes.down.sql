DROP TABLE etl_unsynced_inbox;

DROP TABLE etl_action_audit;

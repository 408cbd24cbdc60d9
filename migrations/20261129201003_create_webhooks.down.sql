DROP TRIGGER etl_control_queue_webhooks ON etl_control;
DROP TRIGGER etl_control_queue_webhooks_at_once ON etl_control;
DROP FUNCTION queue_run_webhooks();
DROP TABLE etl_webhook_condition, etl_webhook_delivery, etl_webhook;

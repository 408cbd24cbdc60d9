REVOKE DELETE ON etl_name FROM etl_service;

-- A tenant that moves to another source forgets the names that its old source had.
GRANT DELETE ON etl_name TO etl_service;

-- Where a process answers for its health and its metrics: `tidemark status` shows it, nothing decides by it.
ALTER TABLE etl_process ADD COLUMN http_address text;

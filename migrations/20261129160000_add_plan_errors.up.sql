-- Why a tenant that was due was not planned: its source was away or had no memory, disk or connection left. The next
-- success removes it. `tidemark status` shows it.
ALTER TABLE etl_watermark
    ADD COLUMN plan_error text;

-- Tables and columns that a tenant's source lacked at its last plan, of those that plans do not compare by digests. When the
-- list of a plan is another, Chatwoot was upgraded, and a backfill reads the tenant's conversations again.
ALTER TABLE etl_watermark ADD COLUMN absent_columns text[] NOT NULL DEFAULT '{}';

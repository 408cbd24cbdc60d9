-- Since which version of its mapping a tenant has its source. Plans and runs of an earlier version are of another source:
-- such a plan is not written, and such a run is not tried again.
ALTER TABLE tenants
    -- 0: the source was never changed
    ADD COLUMN source_version bigint NOT NULL DEFAULT 0;

CREATE FUNCTION raise_source_version() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.mapping_version := greatest(NEW.mapping_version, OLD.mapping_version + 1);
    NEW.source_version := NEW.mapping_version;
    RETURN NEW;
END
$$;

CREATE TRIGGER tenants_raise_source_version
    BEFORE UPDATE OF source ON tenants
    FOR EACH ROW WHEN (OLD.source IS DISTINCT FROM NEW.source) EXECUTE FUNCTION raise_source_version();

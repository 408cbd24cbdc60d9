#!/bin/sh
# For the analytics container's first start: the login of the fleet, which owns nothing, and that of tenants' pages.
set -eu
psql -qX -U "$POSTGRES_USER" -d postgres -v database="$POSTGRES_DB" -v password="$TIDEMARK_PASSWORD" -v pages_password="${TIDEMARK_PAGES_PASSWORD:-}" -f /tidemark/analytics.sql

DROP VIEW messages_live;
DROP VIEW reporting_events_live;

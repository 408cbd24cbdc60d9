DROP TABLE etl_bulk_item;
DROP TABLE etl_bulk;

DROP TABLE conversations_analytics;

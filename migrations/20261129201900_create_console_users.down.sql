DROP TABLE console_request;
DROP TABLE console_token;
DROP TABLE console_session;
DROP TABLE console_user;

-- Back to a model without NAT64.
PRAGMA user_version = 5;

DROP TABLE nat64_source;
DROP TABLE nat64;

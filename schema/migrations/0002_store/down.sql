PRAGMA user_version = 1;
PRAGMA application_id = 0;
DROP TABLE candidate;
DROP TABLE journal;
DROP TABLE meta;

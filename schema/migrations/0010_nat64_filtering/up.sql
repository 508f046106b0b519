-- NAT64s say which packets from outside they let in. The table is made anew, since marks are a row's last columns; by way of a temporary
-- one, so that it takes the pages of the old one, and none is left free.
-- NULL is what every row of the past has, so that its digest stays.

CREATE TEMP TABLE old_nat64 AS SELECT * FROM nat64;
DROP TABLE nat64;
CREATE TABLE nat64 (
  name         TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description  TEXT CHECK (length(description) <= 255),
  vpc          TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  prefix       TEXT,
  pool         TEXT NOT NULL REFERENCES nat_pool (name) DEFERRABLE INITIALLY DEFERRED,
  ports        ANY CHECK (typeof(ports) NOT IN ('real', 'blob') AND (ports BETWEEN 1 AND 65535 OR ports GLOB '[1-9]*[-,]*')),
  idle_timeout TEXT CHECK (idle_timeout GLOB '[0-9]*[dhms]'),
  filtering    TEXT
    CHECK (filtering IN ('address_and_port_dependent', 'address_dependent', 'endpoint_independent')),
  deactivated  INTEGER CHECK (deactivated = 1),
  annotation   TEXT CHECK (length(annotation) <= 255),
  marks        TEXT CHECK (marks IS NULL OR json_valid(marks))
) STRICT, WITHOUT ROWID;
INSERT INTO nat64 (name, description, vpc, prefix, pool, ports, idle_timeout, deactivated, annotation, marks)
  SELECT name, description, vpc, prefix, pool, ports, idle_timeout, deactivated, annotation, marks
  FROM old_nat64;
DROP TABLE old_nat64;
CREATE INDEX nat64_vpc ON nat64 (vpc);
CREATE INDEX nat64_pool ON nat64 (pool);

PRAGMA user_version = 10;

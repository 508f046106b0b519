-- Rules that are NPTv6 become plain translations of prefixes, and parity is no longer asked for.
PRAGMA user_version = 6;

CREATE TABLE new_static_nat (
  name             TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description      TEXT CHECK (length(description) <= 255),
  external_vpc     TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  external_address TEXT NOT NULL CHECK (external_address GLOB '[0-9a-f:]*'),
  internal_vpc     TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  internal_address TEXT NOT NULL CHECK (internal_address GLOB '[0-9a-f:]*'),
  deactivated      INTEGER CHECK (deactivated = 1),
  annotation       TEXT CHECK (length(annotation) <= 255),
  marks            TEXT CHECK (marks IS NULL OR json_valid(marks))
) STRICT, WITHOUT ROWID;
INSERT INTO new_static_nat (name, description, external_vpc, external_address, internal_vpc, internal_address,
    deactivated, annotation, marks)
  SELECT name, description, external_vpc, external_address, internal_vpc, internal_address,
    deactivated, annotation, marks
  FROM static_nat;
DROP TABLE static_nat;
ALTER TABLE new_static_nat RENAME TO static_nat;
CREATE UNIQUE INDEX static_nat_unique_external ON static_nat (external_vpc, external_address)
  WHERE deactivated IS NULL;
CREATE INDEX static_nat_external ON static_nat (external_vpc, external_address);
CREATE UNIQUE INDEX static_nat_unique_internal ON static_nat (internal_vpc, internal_address, external_vpc)
  WHERE deactivated IS NULL;
CREATE INDEX static_nat_internal ON static_nat (internal_vpc, internal_address, external_vpc);

CREATE TABLE new_masquerade (
  name                TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description         TEXT,
  vpc                 TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  interface           TEXT NOT NULL REFERENCES interface (name) DEFERRABLE INITIALLY DEFERRED,
  pool                TEXT REFERENCES nat_pool (name) DEFERRABLE INITIALLY DEFERRED,
  protocol            TEXT CHECK (protocol GLOB '[a-z0-9]*'),
  source_port         ANY
    CHECK (typeof(source_port) NOT IN ('real', 'blob')
      AND (source_port BETWEEN 1 AND 65535 OR source_port GLOB '[1-9]*[-,]*')),
  ports               ANY
    CHECK (typeof(ports) NOT IN ('real', 'blob') AND (ports BETWEEN 1 AND 65535 OR ports GLOB '[1-9]*[-,]*')),
  idle_timeout        TEXT CHECK (idle_timeout GLOB '[0-9]*[dhms]'),
  deactivated         INTEGER CHECK (deactivated = 1),
  annotation          TEXT CHECK (length(annotation) <= 255),
  marks               TEXT CHECK (marks IS NULL OR json_valid(marks))
) STRICT, WITHOUT ROWID;
INSERT INTO new_masquerade (name, description, vpc, interface, pool, protocol, source_port, ports, idle_timeout,
    deactivated, annotation, marks)
  SELECT name, description, vpc, interface, pool, protocol, source_port, ports, idle_timeout,
    deactivated, annotation, marks
  FROM masquerade;
DROP TABLE masquerade;
ALTER TABLE new_masquerade RENAME TO masquerade;
CREATE INDEX masquerade_vpc ON masquerade (vpc);
CREATE INDEX masquerade_interface ON masquerade (interface);
CREATE INDEX masquerade_pool ON masquerade (pool);

-- Static translations may be NPTv6 (RFC 6296). The table is made anew, since marks are a row's last columns.
-- NULL is what every row of the past has, so that its digest stays.

CREATE TABLE new_static_nat (
  name             TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description      TEXT CHECK (length(description) <= 255),
  external_vpc     TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  external_address TEXT NOT NULL CHECK (external_address GLOB '[0-9a-f:]*'),
  internal_vpc     TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  internal_address TEXT NOT NULL CHECK (internal_address GLOB '[0-9a-f:]*'),
  nptv6            INTEGER CHECK (nptv6 = 1),
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

PRAGMA user_version = 6;

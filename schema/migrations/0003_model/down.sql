-- Back to the first cut. Rows that it cannot hold keep it from being taken back.
PRAGMA user_version = 2;

DROP TABLE intent;
DROP TABLE probe;
DROP TABLE telemetry_exporter;
DROP TABLE route_source_vpc;
DROP TABLE route_source;
DROP TABLE port_forward_source;
DROP TABLE nat_exclusion_destination;
DROP TABLE nat_exclusion_source;
DROP TABLE nat_exclusion;
DROP TABLE masquerade_destination;
DROP TABLE peering_expose_port;
DROP TABLE peering_expose_as_not;
DROP TABLE peering_expose_as;
DROP TABLE peering_expose_not;
DROP TABLE peering_expose_ip;
DROP TABLE peering_expose;
DROP TABLE peering_side;
DROP TABLE peering;
DROP TABLE acl_rule_destination;
DROP TABLE acl_rule_source;
DROP TABLE acl_rule;
DROP TABLE acl;
DROP TABLE shaper;
DROP TABLE policer;
DROP TABLE service_entry;
DROP TABLE service;
DROP TABLE address_set_member;
DROP TABLE address_set;
DROP TABLE conntrack;

DROP INDEX vpc_vni;
DROP INDEX vpc_unique_vni;
ALTER TABLE masquerade_source DROP COLUMN annotation;
ALTER TABLE masquerade_source DROP COLUMN deactivated;
ALTER TABLE masquerade DROP COLUMN annotation;
ALTER TABLE masquerade DROP COLUMN deactivated;
ALTER TABLE masquerade DROP COLUMN idle_timeout;
ALTER TABLE masquerade DROP COLUMN ports;
ALTER TABLE masquerade DROP COLUMN source_port;
ALTER TABLE masquerade DROP COLUMN protocol;
ALTER TABLE nat_pool_range DROP COLUMN annotation;
ALTER TABLE nat_pool_range DROP COLUMN deactivated;
ALTER TABLE nat_pool DROP COLUMN annotation;
ALTER TABLE nat_pool DROP COLUMN deactivated;
ALTER TABLE nat_pool DROP COLUMN address_only;
ALTER TABLE nat_pool DROP COLUMN ports;
ALTER TABLE route_next_hop DROP COLUMN annotation;
ALTER TABLE route_next_hop DROP COLUMN deactivated;
ALTER TABLE route_next_hop DROP COLUMN weight;
ALTER TABLE neighbor DROP COLUMN annotation;
ALTER TABLE neighbor DROP COLUMN deactivated;
ALTER TABLE interface_address DROP COLUMN annotation;
ALTER TABLE interface_address DROP COLUMN deactivated;
ALTER TABLE vpc DROP COLUMN annotation;
ALTER TABLE vpc DROP COLUMN deactivated;
ALTER TABLE vpc DROP COLUMN vni;

CREATE TABLE old_static_nat (
  name             TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description      TEXT,
  external_vpc     TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  external_address TEXT NOT NULL,
  internal_vpc     TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  internal_address TEXT NOT NULL,
  UNIQUE (external_vpc, external_address),
  UNIQUE (internal_vpc, internal_address, external_vpc)
) STRICT, WITHOUT ROWID;
INSERT INTO old_static_nat (name, description, external_vpc, external_address, internal_vpc, internal_address)
  SELECT name, description, external_vpc, external_address, internal_vpc, internal_address
  FROM static_nat;
DROP TABLE static_nat;
ALTER TABLE old_static_nat RENAME TO static_nat;

CREATE TABLE old_port_forward (
  name             TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description      TEXT,
  protocol         TEXT NOT NULL CHECK (protocol IN ('tcp', 'udp')),
  external_vpc     TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  external_address TEXT NOT NULL,
  external_port    INTEGER NOT NULL CHECK (external_port BETWEEN 1 AND 65535),
  internal_vpc     TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  internal_address TEXT NOT NULL,
  internal_port    INTEGER NOT NULL CHECK (internal_port BETWEEN 1 AND 65535),
  UNIQUE (external_vpc, external_address, protocol, external_port)
) STRICT, WITHOUT ROWID;
INSERT INTO old_port_forward (name, description, protocol, external_vpc, external_address, external_port, internal_vpc,
    internal_address, internal_port)
  SELECT name, description, protocol, external_vpc, external_address, external_port, internal_vpc,
    internal_address, internal_port
  FROM port_forward;
DROP TABLE port_forward;
ALTER TABLE old_port_forward RENAME TO port_forward;
CREATE INDEX port_forward_internal_vpc ON port_forward (internal_vpc);

CREATE TABLE old_route (
  vpc         TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  prefix      TEXT NOT NULL CHECK (prefix LIKE '%/%'),
  description TEXT,
  route_type  TEXT NOT NULL CHECK (route_type IN ('unicast', 'blackhole', 'unreachable')),
  PRIMARY KEY (vpc, prefix)
) STRICT, WITHOUT ROWID;
INSERT INTO old_route (vpc, prefix, description, route_type)
  SELECT vpc, prefix, description, route_type
  FROM route;
DROP TABLE route;
ALTER TABLE old_route RENAME TO route;

CREATE TABLE old_interface (
  name        TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description TEXT,
  vpc         TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  port        TEXT NOT NULL UNIQUE,
  mac         TEXT NOT NULL CHECK (length(mac) = 17),
  mtu         INTEGER NOT NULL CHECK (mtu BETWEEN 576 AND 9000)
) STRICT, WITHOUT ROWID;
INSERT INTO old_interface (name, description, vpc, port, mac, mtu)
  SELECT name, description, vpc, port, mac, mtu
  FROM interface;
DROP TABLE interface;
ALTER TABLE old_interface RENAME TO interface;
CREATE INDEX interface_vpc ON interface (vpc);

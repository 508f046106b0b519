-- The configuration's tables, first cut. `schema/src/model.rs` is the definition; a test holds the two together.
--
-- STRICT, so that a column holds what it says. Foreign keys are deferred to the commit: a transaction may pass through
-- any state, and must end in one where every reference leads somewhere. No triggers: a change is applied and taken back
-- as it stands in the journal, and nothing else happens.

CREATE TABLE vpc (
  name        TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE interface (
  name        TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description TEXT,
  vpc         TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  port        TEXT NOT NULL UNIQUE,
  mac         TEXT NOT NULL CHECK (length(mac) = 17),
  mtu         INTEGER NOT NULL CHECK (mtu BETWEEN 576 AND 9000)
) STRICT, WITHOUT ROWID;
CREATE INDEX interface_vpc ON interface (vpc);

CREATE TABLE interface_address (
  interface   TEXT NOT NULL REFERENCES interface (name) DEFERRABLE INITIALLY DEFERRED,
  address     TEXT NOT NULL CHECK (address LIKE '%/%'),
  PRIMARY KEY (interface, address)
) STRICT, WITHOUT ROWID;

CREATE TABLE neighbor (
  interface   TEXT NOT NULL REFERENCES interface (name) DEFERRABLE INITIALLY DEFERRED,
  address     TEXT NOT NULL,
  mac         TEXT NOT NULL CHECK (length(mac) = 17),
  PRIMARY KEY (interface, address)
) STRICT, WITHOUT ROWID;

CREATE TABLE route (
  vpc         TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  prefix      TEXT NOT NULL CHECK (prefix LIKE '%/%'),
  description TEXT,
  route_type  TEXT NOT NULL CHECK (route_type IN ('unicast', 'blackhole', 'unreachable')),
  PRIMARY KEY (vpc, prefix)
) STRICT, WITHOUT ROWID;

CREATE TABLE route_next_hop (
  vpc         TEXT NOT NULL,
  prefix      TEXT NOT NULL,
  position    INTEGER NOT NULL CHECK (position BETWEEN 0 AND 15),
  interface   TEXT NOT NULL REFERENCES interface (name) DEFERRABLE INITIALLY DEFERRED,
  via         TEXT,
  PRIMARY KEY (vpc, prefix, position),
  FOREIGN KEY (vpc, prefix) REFERENCES route (vpc, prefix) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
CREATE INDEX route_next_hop_interface ON route_next_hop (interface);

CREATE TABLE nat_pool (
  name        TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description TEXT,
  vpc         TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
CREATE INDEX nat_pool_vpc ON nat_pool (vpc);

CREATE TABLE nat_pool_range (
  pool        TEXT NOT NULL REFERENCES nat_pool (name) DEFERRABLE INITIALLY DEFERRED,
  range       TEXT NOT NULL,
  PRIMARY KEY (pool, range)
) STRICT, WITHOUT ROWID;

CREATE TABLE masquerade (
  name        TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description TEXT,
  vpc         TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  interface   TEXT NOT NULL REFERENCES interface (name) DEFERRABLE INITIALLY DEFERRED,
  pool        TEXT REFERENCES nat_pool (name) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
CREATE INDEX masquerade_vpc ON masquerade (vpc);
CREATE INDEX masquerade_interface ON masquerade (interface);
CREATE INDEX masquerade_pool ON masquerade (pool);

CREATE TABLE masquerade_source (
  masquerade  TEXT NOT NULL REFERENCES masquerade (name) DEFERRABLE INITIALLY DEFERRED,
  prefix      TEXT NOT NULL CHECK (prefix LIKE '%/%'),
  PRIMARY KEY (masquerade, prefix)
) STRICT, WITHOUT ROWID;

CREATE TABLE port_forward (
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
CREATE INDEX port_forward_internal_vpc ON port_forward (internal_vpc);

CREATE TABLE static_nat (
  name             TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description      TEXT,
  external_vpc     TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  external_address TEXT NOT NULL,
  internal_vpc     TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  internal_address TEXT NOT NULL,
  UNIQUE (external_vpc, external_address),
  UNIQUE (internal_vpc, internal_address, external_vpc)
) STRICT, WITHOUT ROWID;

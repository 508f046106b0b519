-- The whole model. `schema/src/model.rs` is the definition; a test holds the two together.
--
-- Runs with foreign keys off: tables that others refer to are made anew under their old names. A column that an old
-- table gets may be NULL, and NULL is what the rows of the past mean, so that their digests stay.
--
-- Every table ends with its marks: whether the object is deactivated, and what somebody noted about it. What must be
-- unique is so among what is not deactivated. A reference that may be NULL has an index of those that are not.

-- Tables made anew, because a column may be NULL now, takes more, or was unique among all rows.

CREATE TABLE new_interface (
  name           TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description    TEXT CHECK (length(description) <= 255),
  vpc            TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  port           TEXT,
  mac            TEXT CHECK (length(mac) = 17),
  mtu            INTEGER NOT NULL CHECK (mtu BETWEEN 576 AND 9000),
  interface_type TEXT CHECK (interface_type IN ('physical', 'vlan', 'loopback', 'vxlan')),
  disabled       INTEGER CHECK (disabled = 1),
  parent         TEXT REFERENCES interface (name) DEFERRABLE INITIALLY DEFERRED,
  vlan           INTEGER CHECK (vlan BETWEEN 1 AND 4094),
  vni            INTEGER CHECK (vni BETWEEN 1 AND 16777215),
  local_address  TEXT,
  remote_address TEXT,
  underlay       TEXT REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  acl_in         TEXT REFERENCES acl (name) DEFERRABLE INITIALLY DEFERRED,
  acl_out        TEXT REFERENCES acl (name) DEFERRABLE INITIALLY DEFERRED,
  policer        TEXT REFERENCES policer (name) DEFERRABLE INITIALLY DEFERRED,
  shaper         TEXT REFERENCES shaper (name) DEFERRABLE INITIALLY DEFERRED,
  deactivated    INTEGER CHECK (deactivated = 1),
  annotation     TEXT CHECK (length(annotation) <= 255)
) STRICT, WITHOUT ROWID;
INSERT INTO new_interface (name, description, vpc, port, mac, mtu)
  SELECT name, description, vpc, port, mac, mtu FROM interface;
DROP TABLE interface;
ALTER TABLE new_interface RENAME TO interface;
CREATE UNIQUE INDEX interface_unique_port ON interface (port) WHERE deactivated IS NULL;
CREATE INDEX interface_port ON interface (port);
CREATE UNIQUE INDEX interface_unique_parent_vlan ON interface (parent, vlan) WHERE deactivated IS NULL;
CREATE INDEX interface_parent_vlan ON interface (parent, vlan);
CREATE INDEX interface_vpc ON interface (vpc);
CREATE INDEX interface_underlay ON interface (underlay) WHERE underlay IS NOT NULL;
CREATE INDEX interface_acl_in ON interface (acl_in) WHERE acl_in IS NOT NULL;
CREATE INDEX interface_acl_out ON interface (acl_out) WHERE acl_out IS NOT NULL;
CREATE INDEX interface_policer ON interface (policer) WHERE policer IS NOT NULL;
CREATE INDEX interface_shaper ON interface (shaper) WHERE shaper IS NOT NULL;

CREATE TABLE new_route (
  vpc         TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  prefix      TEXT NOT NULL CHECK (prefix LIKE '%/%'),
  description TEXT CHECK (length(description) <= 255),
  route_type  TEXT NOT NULL CHECK (route_type IN ('unicast', 'blackhole', 'unreachable', 'vpc')),
  to_vpc      TEXT REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  distance    INTEGER CHECK (distance BETWEEN 1 AND 255),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (vpc, prefix)
) STRICT, WITHOUT ROWID;
INSERT INTO new_route (vpc, prefix, description, route_type)
  SELECT vpc, prefix, description, route_type FROM route;
DROP TABLE route;
ALTER TABLE new_route RENAME TO route;
CREATE INDEX route_to_vpc ON route (to_vpc) WHERE to_vpc IS NOT NULL;

CREATE TABLE new_port_forward (
  name               TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description        TEXT CHECK (length(description) <= 255),
  protocol           TEXT NOT NULL CHECK (protocol IN ('tcp', 'udp', 'tcp_udp')),
  external_vpc       TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  external_address   TEXT,
  external_port      ANY NOT NULL CHECK (typeof(external_port) NOT IN ('real', 'blob')
    AND (external_port BETWEEN 1 AND 65535 OR external_port GLOB '[1-9]*[-,]*')),
  internal_vpc       TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  internal_address   TEXT NOT NULL,
  internal_port      ANY CHECK (typeof(internal_port) NOT IN ('real', 'blob')
    AND (internal_port BETWEEN 1 AND 65535 OR internal_port GLOB '[1-9]*[-,]*')),
  external_interface TEXT REFERENCES interface (name) DEFERRABLE INITIALLY DEFERRED,
  idle_timeout       TEXT CHECK (idle_timeout GLOB '[0-9]*[dhms]'),
  deactivated        INTEGER CHECK (deactivated = 1),
  annotation         TEXT CHECK (length(annotation) <= 255)
) STRICT, WITHOUT ROWID;
INSERT INTO new_port_forward (name, description, protocol, external_vpc, external_address, external_port, internal_vpc,
    internal_address, internal_port)
  SELECT name, description, protocol, external_vpc, external_address, external_port, internal_vpc,
    internal_address, internal_port FROM port_forward;
DROP TABLE port_forward;
ALTER TABLE new_port_forward RENAME TO port_forward;
CREATE UNIQUE INDEX port_forward_unique_external
  ON port_forward (external_vpc, external_address, protocol, external_port) WHERE deactivated IS NULL;
CREATE INDEX port_forward_external ON port_forward (external_vpc, external_address, protocol, external_port);
CREATE INDEX port_forward_internal_vpc ON port_forward (internal_vpc);
CREATE INDEX port_forward_external_interface ON port_forward (external_interface)
  WHERE external_interface IS NOT NULL;

CREATE TABLE new_static_nat (
  name             TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description      TEXT CHECK (length(description) <= 255),
  external_vpc     TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  external_address TEXT NOT NULL CHECK (external_address GLOB '[0-9a-f:]*'),
  internal_vpc     TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  internal_address TEXT NOT NULL CHECK (internal_address GLOB '[0-9a-f:]*'),
  deactivated      INTEGER CHECK (deactivated = 1),
  annotation       TEXT CHECK (length(annotation) <= 255)
) STRICT, WITHOUT ROWID;
INSERT INTO new_static_nat (name, description, external_vpc, external_address, internal_vpc, internal_address)
  SELECT name, description, external_vpc, external_address, internal_vpc, internal_address FROM static_nat;
DROP TABLE static_nat;
ALTER TABLE new_static_nat RENAME TO static_nat;
CREATE UNIQUE INDEX static_nat_unique_external ON static_nat (external_vpc, external_address)
  WHERE deactivated IS NULL;
CREATE INDEX static_nat_external ON static_nat (external_vpc, external_address);
CREATE UNIQUE INDEX static_nat_unique_internal ON static_nat (internal_vpc, internal_address, external_vpc)
  WHERE deactivated IS NULL;
CREATE INDEX static_nat_internal ON static_nat (internal_vpc, internal_address, external_vpc);

-- Tables that get columns.

ALTER TABLE vpc ADD COLUMN vni INTEGER CHECK (vni BETWEEN 1 AND 16777215);
ALTER TABLE vpc ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE vpc ADD COLUMN annotation TEXT CHECK (length(annotation) <= 255);
CREATE UNIQUE INDEX vpc_unique_vni ON vpc (vni) WHERE deactivated IS NULL;
CREATE INDEX vpc_vni ON vpc (vni) WHERE vni IS NOT NULL;

ALTER TABLE interface_address ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE interface_address ADD COLUMN annotation TEXT CHECK (length(annotation) <= 255);

ALTER TABLE neighbor ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE neighbor ADD COLUMN annotation TEXT CHECK (length(annotation) <= 255);

ALTER TABLE route_next_hop ADD COLUMN weight INTEGER CHECK (weight BETWEEN 1 AND 256);
ALTER TABLE route_next_hop ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE route_next_hop ADD COLUMN annotation TEXT CHECK (length(annotation) <= 255);

ALTER TABLE nat_pool ADD COLUMN ports ANY
  CHECK (typeof(ports) NOT IN ('real', 'blob') AND (ports BETWEEN 1 AND 65535 OR ports GLOB '[1-9]*[-,]*'));
ALTER TABLE nat_pool ADD COLUMN address_only INTEGER CHECK (address_only = 1);
ALTER TABLE nat_pool ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE nat_pool ADD COLUMN annotation TEXT CHECK (length(annotation) <= 255);

ALTER TABLE nat_pool_range ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE nat_pool_range ADD COLUMN annotation TEXT CHECK (length(annotation) <= 255);

ALTER TABLE masquerade ADD COLUMN protocol TEXT CHECK (protocol GLOB '[a-z0-9]*');
ALTER TABLE masquerade ADD COLUMN source_port ANY
  CHECK (typeof(source_port) NOT IN ('real', 'blob')
    AND (source_port BETWEEN 1 AND 65535 OR source_port GLOB '[1-9]*[-,]*'));
ALTER TABLE masquerade ADD COLUMN ports ANY
  CHECK (typeof(ports) NOT IN ('real', 'blob') AND (ports BETWEEN 1 AND 65535 OR ports GLOB '[1-9]*[-,]*'));
ALTER TABLE masquerade ADD COLUMN idle_timeout TEXT CHECK (idle_timeout GLOB '[0-9]*[dhms]');
ALTER TABLE masquerade ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE masquerade ADD COLUMN annotation TEXT CHECK (length(annotation) <= 255);

ALTER TABLE masquerade_source ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE masquerade_source ADD COLUMN annotation TEXT CHECK (length(annotation) <= 255);

-- New tables, in the order of the model.

CREATE TABLE conntrack (
  vpc                  TEXT NOT NULL PRIMARY KEY REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  most_connections     INTEGER CHECK (most_connections BETWEEN 1 AND 4294967295),
  most_per_source      INTEGER CHECK (most_per_source BETWEEN 1 AND 4294967295),
  tcp_established      TEXT CHECK (tcp_established GLOB '[0-9]*[dhms]'),
  tcp_partially_open   TEXT CHECK (tcp_partially_open GLOB '[0-9]*[dhms]'),
  tcp_partially_closed TEXT CHECK (tcp_partially_closed GLOB '[0-9]*[dhms]'),
  tcp_reset            TEXT CHECK (tcp_reset GLOB '[0-9]*[dhms]'),
  udp_replied          TEXT CHECK (udp_replied GLOB '[0-9]*[dhms]'),
  udp_unreplied        TEXT CHECK (udp_unreplied GLOB '[0-9]*[dhms]'),
  icmp_query           TEXT CHECK (icmp_query GLOB '[0-9]*[dhms]'),
  other                TEXT CHECK (other GLOB '[0-9]*[dhms]'),
  deactivated          INTEGER CHECK (deactivated = 1),
  annotation           TEXT CHECK (length(annotation) <= 255)
) STRICT, WITHOUT ROWID;

CREATE TABLE address_set (
  name        TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description TEXT CHECK (length(description) <= 255),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255)
) STRICT, WITHOUT ROWID;

CREATE TABLE address_set_member (
  address_set TEXT NOT NULL REFERENCES address_set (name) DEFERRABLE INITIALLY DEFERRED,
  addresses   TEXT NOT NULL CHECK (addresses GLOB '[0-9a-f:]*'),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (address_set, addresses)
) STRICT, WITHOUT ROWID;

CREATE TABLE service (
  name        TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description TEXT CHECK (length(description) <= 255),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255)
) STRICT, WITHOUT ROWID;

CREATE TABLE service_entry (
  service          TEXT NOT NULL REFERENCES service (name) DEFERRABLE INITIALLY DEFERRED,
  position         INTEGER NOT NULL CHECK (position BETWEEN 0 AND 65535),
  protocol         TEXT NOT NULL CHECK (protocol GLOB '[a-z0-9]*'),
  source_port      ANY CHECK (typeof(source_port) NOT IN ('real', 'blob')
    AND (source_port BETWEEN 1 AND 65535 OR source_port GLOB '[1-9]*[-,]*')),
  destination_port ANY CHECK (typeof(destination_port) NOT IN ('real', 'blob')
    AND (destination_port BETWEEN 1 AND 65535 OR destination_port GLOB '[1-9]*[-,]*')),
  icmp_type        INTEGER CHECK (icmp_type BETWEEN 0 AND 255),
  icmp_code        INTEGER CHECK (icmp_code BETWEEN 0 AND 255),
  deactivated      INTEGER CHECK (deactivated = 1),
  annotation       TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (service, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE policer (
  name        TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description TEXT CHECK (length(description) <= 255),
  rate        TEXT NOT NULL CHECK (rate GLOB '[1-9]*'),
  burst       TEXT CHECK (burst GLOB '[1-9]*'),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255)
) STRICT, WITHOUT ROWID;

CREATE TABLE shaper (
  name        TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description TEXT CHECK (length(description) <= 255),
  rate        TEXT NOT NULL CHECK (rate GLOB '[1-9]*'),
  burst       TEXT CHECK (burst GLOB '[1-9]*'),
  queue       TEXT CHECK (queue GLOB '[1-9]*'),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255)
) STRICT, WITHOUT ROWID;

CREATE TABLE acl (
  name           TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description    TEXT CHECK (length(description) <= 255),
  default_action TEXT NOT NULL CHECK (default_action IN ('deny', 'reject', 'allow', 'deny_unless_exposed')),
  deactivated    INTEGER CHECK (deactivated = 1),
  annotation     TEXT CHECK (length(annotation) <= 255)
) STRICT, WITHOUT ROWID;

CREATE TABLE acl_rule (
  acl              TEXT NOT NULL REFERENCES acl (name) DEFERRABLE INITIALLY DEFERRED,
  sequence         INTEGER NOT NULL CHECK (sequence BETWEEN 0 AND 4294967295),
  description      TEXT CHECK (length(description) <= 255),
  action           TEXT NOT NULL CHECK (action IN ('allow', 'deny', 'reject')),
  scope            TEXT NOT NULL CHECK (scope IN ('flow', 'packet')),
  log              INTEGER CHECK (log = 1),
  from_vpc         TEXT REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  to_vpc           TEXT REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  source_set       TEXT REFERENCES address_set (name) DEFERRABLE INITIALLY DEFERRED,
  destination_set  TEXT REFERENCES address_set (name) DEFERRABLE INITIALLY DEFERRED,
  service          TEXT REFERENCES service (name) DEFERRABLE INITIALLY DEFERRED,
  protocol         TEXT CHECK (protocol GLOB '[a-z0-9]*'),
  source_port      ANY CHECK (typeof(source_port) NOT IN ('real', 'blob')
    AND (source_port BETWEEN 1 AND 65535 OR source_port GLOB '[1-9]*[-,]*')),
  destination_port ANY CHECK (typeof(destination_port) NOT IN ('real', 'blob')
    AND (destination_port BETWEEN 1 AND 65535 OR destination_port GLOB '[1-9]*[-,]*')),
  icmp_type        INTEGER CHECK (icmp_type BETWEEN 0 AND 255),
  icmp_code        INTEGER CHECK (icmp_code BETWEEN 0 AND 255),
  deactivated      INTEGER CHECK (deactivated = 1),
  annotation       TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (acl, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX acl_rule_from_vpc ON acl_rule (from_vpc) WHERE from_vpc IS NOT NULL;
CREATE INDEX acl_rule_to_vpc ON acl_rule (to_vpc) WHERE to_vpc IS NOT NULL;
CREATE INDEX acl_rule_source_set ON acl_rule (source_set) WHERE source_set IS NOT NULL;
CREATE INDEX acl_rule_destination_set ON acl_rule (destination_set) WHERE destination_set IS NOT NULL;
CREATE INDEX acl_rule_service ON acl_rule (service) WHERE service IS NOT NULL;

CREATE TABLE acl_rule_source (
  acl         TEXT NOT NULL,
  sequence    INTEGER NOT NULL CHECK (sequence BETWEEN 0 AND 4294967295),
  addresses   TEXT NOT NULL CHECK (addresses GLOB '[0-9a-f:]*'),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (acl, sequence, addresses),
  FOREIGN KEY (acl, sequence) REFERENCES acl_rule (acl, sequence) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TABLE acl_rule_destination (
  acl         TEXT NOT NULL,
  sequence    INTEGER NOT NULL CHECK (sequence BETWEEN 0 AND 4294967295),
  addresses   TEXT NOT NULL CHECK (addresses GLOB '[0-9a-f:]*'),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (acl, sequence, addresses),
  FOREIGN KEY (acl, sequence) REFERENCES acl_rule (acl, sequence) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TABLE peering (
  name        TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description TEXT CHECK (length(description) <= 255),
  acl         TEXT REFERENCES acl (name) DEFERRABLE INITIALLY DEFERRED,
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255)
) STRICT, WITHOUT ROWID;
CREATE INDEX peering_acl ON peering (acl) WHERE acl IS NOT NULL;

CREATE TABLE peering_side (
  peering     TEXT NOT NULL REFERENCES peering (name) DEFERRABLE INITIALLY DEFERRED,
  vpc         TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (peering, vpc)
) STRICT, WITHOUT ROWID;
CREATE INDEX peering_side_vpc ON peering_side (vpc);

CREATE TABLE peering_expose (
  peering      TEXT NOT NULL,
  vpc          TEXT NOT NULL,
  name         TEXT NOT NULL CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description  TEXT CHECK (length(description) <= 255),
  is_default   INTEGER CHECK (is_default = 1),
  nat          TEXT CHECK (nat IN ('static', 'masquerade', 'port_forward')),
  idle_timeout TEXT CHECK (idle_timeout GLOB '[0-9]*[dhms]'),
  metric       INTEGER CHECK (metric BETWEEN 0 AND 4294967295),
  deactivated  INTEGER CHECK (deactivated = 1),
  annotation   TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (peering, vpc, name),
  FOREIGN KEY (peering, vpc) REFERENCES peering_side (peering, vpc) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TABLE peering_expose_ip (
  peering     TEXT NOT NULL,
  vpc         TEXT NOT NULL,
  expose      TEXT NOT NULL,
  prefix      TEXT NOT NULL CHECK (prefix LIKE '%/%'),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (peering, vpc, expose, prefix),
  FOREIGN KEY (peering, vpc, expose) REFERENCES peering_expose (peering, vpc, name)
    DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TABLE peering_expose_not (
  peering     TEXT NOT NULL,
  vpc         TEXT NOT NULL,
  expose      TEXT NOT NULL,
  prefix      TEXT NOT NULL CHECK (prefix LIKE '%/%'),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (peering, vpc, expose, prefix),
  FOREIGN KEY (peering, vpc, expose) REFERENCES peering_expose (peering, vpc, name)
    DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TABLE peering_expose_as (
  peering     TEXT NOT NULL,
  vpc         TEXT NOT NULL,
  expose      TEXT NOT NULL,
  prefix      TEXT NOT NULL CHECK (prefix LIKE '%/%'),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (peering, vpc, expose, prefix),
  FOREIGN KEY (peering, vpc, expose) REFERENCES peering_expose (peering, vpc, name)
    DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TABLE peering_expose_as_not (
  peering     TEXT NOT NULL,
  vpc         TEXT NOT NULL,
  expose      TEXT NOT NULL,
  prefix      TEXT NOT NULL CHECK (prefix LIKE '%/%'),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (peering, vpc, expose, prefix),
  FOREIGN KEY (peering, vpc, expose) REFERENCES peering_expose (peering, vpc, name)
    DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TABLE peering_expose_port (
  peering     TEXT NOT NULL,
  vpc         TEXT NOT NULL,
  expose      TEXT NOT NULL,
  position    INTEGER NOT NULL CHECK (position BETWEEN 0 AND 65535),
  protocol    TEXT NOT NULL CHECK (protocol IN ('tcp', 'udp', 'tcp_udp')),
  port        ANY NOT NULL CHECK (typeof(port) NOT IN ('real', 'blob')
    AND (port BETWEEN 1 AND 65535 OR port GLOB '[1-9]*[-,]*')),
  as_port     ANY CHECK (typeof(as_port) NOT IN ('real', 'blob')
    AND (as_port BETWEEN 1 AND 65535 OR as_port GLOB '[1-9]*[-,]*')),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (peering, vpc, expose, position),
  FOREIGN KEY (peering, vpc, expose) REFERENCES peering_expose (peering, vpc, name)
    DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TABLE masquerade_destination (
  masquerade  TEXT NOT NULL REFERENCES masquerade (name) DEFERRABLE INITIALLY DEFERRED,
  addresses   TEXT NOT NULL CHECK (addresses GLOB '[0-9a-f:]*'),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (masquerade, addresses)
) STRICT, WITHOUT ROWID;

CREATE TABLE nat_exclusion (
  name             TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description      TEXT CHECK (length(description) <= 255),
  vpc              TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  interface        TEXT REFERENCES interface (name) DEFERRABLE INITIALLY DEFERRED,
  protocol         TEXT CHECK (protocol GLOB '[a-z0-9]*'),
  source_port      ANY CHECK (typeof(source_port) NOT IN ('real', 'blob')
    AND (source_port BETWEEN 1 AND 65535 OR source_port GLOB '[1-9]*[-,]*')),
  destination_port ANY CHECK (typeof(destination_port) NOT IN ('real', 'blob')
    AND (destination_port BETWEEN 1 AND 65535 OR destination_port GLOB '[1-9]*[-,]*')),
  deactivated      INTEGER CHECK (deactivated = 1),
  annotation       TEXT CHECK (length(annotation) <= 255)
) STRICT, WITHOUT ROWID;
CREATE INDEX nat_exclusion_vpc ON nat_exclusion (vpc);
CREATE INDEX nat_exclusion_interface ON nat_exclusion (interface) WHERE interface IS NOT NULL;

CREATE TABLE nat_exclusion_source (
  exclusion   TEXT NOT NULL REFERENCES nat_exclusion (name) DEFERRABLE INITIALLY DEFERRED,
  addresses   TEXT NOT NULL CHECK (addresses GLOB '[0-9a-f:]*'),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (exclusion, addresses)
) STRICT, WITHOUT ROWID;

CREATE TABLE nat_exclusion_destination (
  exclusion   TEXT NOT NULL REFERENCES nat_exclusion (name) DEFERRABLE INITIALLY DEFERRED,
  addresses   TEXT NOT NULL CHECK (addresses GLOB '[0-9a-f:]*'),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (exclusion, addresses)
) STRICT, WITHOUT ROWID;

CREATE TABLE port_forward_source (
  port_forward TEXT NOT NULL REFERENCES port_forward (name) DEFERRABLE INITIALLY DEFERRED,
  addresses    TEXT NOT NULL CHECK (addresses GLOB '[0-9a-f:]*'),
  deactivated  INTEGER CHECK (deactivated = 1),
  annotation   TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (port_forward, addresses)
) STRICT, WITHOUT ROWID;

CREATE TABLE route_source (
  name        TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description TEXT CHECK (length(description) <= 255),
  source_type TEXT NOT NULL CHECK (source_type IN ('fpm')),
  listen      TEXT NOT NULL CHECK (listen LIKE '%:%'),
  distance    INTEGER CHECK (distance BETWEEN 1 AND 255),
  most_routes INTEGER CHECK (most_routes BETWEEN 1 AND 4294967295),
  stale_time  TEXT CHECK (stale_time GLOB '[0-9]*[dhms]'),
  deactivated INTEGER CHECK (deactivated = 1),
  annotation  TEXT CHECK (length(annotation) <= 255)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX route_source_unique_listen ON route_source (listen) WHERE deactivated IS NULL;

CREATE TABLE route_source_vpc (
  route_source TEXT NOT NULL REFERENCES route_source (name) DEFERRABLE INITIALLY DEFERRED,
  vpc          TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  table_id     INTEGER NOT NULL CHECK (table_id BETWEEN 1 AND 4294967295),
  deactivated  INTEGER CHECK (deactivated = 1),
  annotation   TEXT CHECK (length(annotation) <= 255),
  PRIMARY KEY (route_source, vpc)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX route_source_vpc_unique_table_id ON route_source_vpc (route_source, table_id)
  WHERE deactivated IS NULL;
CREATE INDEX route_source_vpc_vpc ON route_source_vpc (vpc);

CREATE TABLE telemetry_exporter (
  name          TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description   TEXT CHECK (length(description) <= 255),
  exporter_type TEXT NOT NULL CHECK (exporter_type IN ('prometheus', 'otlp', 'ipfix', 'sflow')),
  address       TEXT NOT NULL CHECK (address LIKE '%:%'),
  interval      TEXT CHECK (interval GLOB '[0-9]*[dhms]'),
  sampling      INTEGER CHECK (sampling BETWEEN 1 AND 4294967295),
  deactivated   INTEGER CHECK (deactivated = 1),
  annotation    TEXT CHECK (length(annotation) <= 255)
) STRICT, WITHOUT ROWID;

CREATE TABLE probe (
  name                        TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description                 TEXT CHECK (length(description) <= 255),
  interface                   TEXT NOT NULL REFERENCES interface (name) DEFERRABLE INITIALLY DEFERRED,
  source                      TEXT NOT NULL,
  destination                 TEXT NOT NULL,
  protocol                    TEXT CHECK (protocol GLOB '[a-z0-9]*'),
  source_port                 INTEGER CHECK (source_port BETWEEN 1 AND 65535),
  destination_port            INTEGER CHECK (destination_port BETWEEN 1 AND 65535),
  icmp_type                   INTEGER CHECK (icmp_type BETWEEN 0 AND 255),
  icmp_code                   INTEGER CHECK (icmp_code BETWEEN 0 AND 255),
  expect                      TEXT NOT NULL CHECK (expect IN ('forwarded', 'dropped', 'answered')),
  out_interface               TEXT REFERENCES interface (name) DEFERRABLE INITIALLY DEFERRED,
  via                         TEXT,
  translated_source           TEXT,
  translated_destination      TEXT,
  translated_destination_port INTEGER CHECK (translated_destination_port BETWEEN 1 AND 65535),
  deactivated                 INTEGER CHECK (deactivated = 1),
  annotation                  TEXT CHECK (length(annotation) <= 255)
) STRICT, WITHOUT ROWID;
CREATE INDEX probe_interface ON probe (interface);
CREATE INDEX probe_out_interface ON probe (out_interface) WHERE out_interface IS NOT NULL;

CREATE TABLE intent (
  name             TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description      TEXT CHECK (length(description) <= 255),
  from_vpc         TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  to_vpc           TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  reach            TEXT NOT NULL CHECK (reach IN ('never', 'always')),
  source           TEXT CHECK (source GLOB '[0-9a-f:]*'),
  destination      TEXT CHECK (destination GLOB '[0-9a-f:]*'),
  protocol         TEXT CHECK (protocol GLOB '[a-z0-9]*'),
  destination_port ANY CHECK (typeof(destination_port) NOT IN ('real', 'blob')
    AND (destination_port BETWEEN 1 AND 65535 OR destination_port GLOB '[1-9]*[-,]*')),
  deactivated      INTEGER CHECK (deactivated = 1),
  annotation       TEXT CHECK (length(annotation) <= 255)
) STRICT, WITHOUT ROWID;
CREATE INDEX intent_from_vpc ON intent (from_vpc);
CREATE INDEX intent_to_vpc ON intent (to_vpc);

PRAGMA user_version = 3;

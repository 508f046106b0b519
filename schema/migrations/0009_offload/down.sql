-- Back to interfaces of which nothing is said about cards.
PRAGMA user_version = 8;

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
  annotation     TEXT CHECK (length(annotation) <= 255), marks TEXT CHECK (marks IS NULL OR json_valid(marks))
) STRICT, WITHOUT ROWID;
INSERT INTO new_interface (name, description, vpc, port, mac, mtu, interface_type, disabled, parent, vlan, vni, local_address,
    remote_address, underlay, acl_in, acl_out, policer, shaper, deactivated, annotation, marks)
  SELECT name, description, vpc, port, mac, mtu, interface_type, disabled, parent, vlan, vni, local_address,
    remote_address, underlay, acl_in, acl_out, policer, shaper, deactivated, annotation, marks FROM interface;
DROP TABLE interface;
ALTER TABLE new_interface RENAME TO interface;
CREATE UNIQUE INDEX interface_unique_port ON interface (port)
  WHERE deactivated IS NULL
    AND json_extract(marks, '$.port.deactivated') IS NULL;
CREATE INDEX interface_port ON interface (port);
CREATE UNIQUE INDEX interface_unique_parent_vlan ON interface (parent, vlan)
  WHERE deactivated IS NULL
    AND json_extract(marks, '$.parent.deactivated') IS NULL
    AND json_extract(marks, '$.vlan.deactivated') IS NULL;
CREATE INDEX interface_parent_vlan ON interface (parent, vlan);
CREATE INDEX interface_vpc ON interface (vpc);
CREATE INDEX interface_underlay ON interface (underlay) WHERE underlay IS NOT NULL;
CREATE INDEX interface_acl_in ON interface (acl_in) WHERE acl_in IS NOT NULL;
CREATE INDEX interface_acl_out ON interface (acl_out) WHERE acl_out IS NOT NULL;
CREATE INDEX interface_policer ON interface (policer) WHERE policer IS NOT NULL;
CREATE INDEX interface_shaper ON interface (shaper) WHERE shaper IS NOT NULL;

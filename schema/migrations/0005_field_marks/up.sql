-- Marks of single fields: what is deactivated, and what somebody noted about it, for each field by its name in documents,
-- as one JSON text an object. NULL is what every row of the past has, so that its digest stays.
--
-- What must be unique is so among what is in effect: a deactivated field takes no value.

DROP INDEX interface_unique_port;
DROP INDEX interface_unique_parent_vlan;
DROP INDEX port_forward_unique_external;
DROP INDEX vpc_unique_vni;

ALTER TABLE vpc ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE interface_address ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE neighbor ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE route_next_hop ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE nat_pool ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE nat_pool_range ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE masquerade ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE masquerade_source ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE interface ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE route ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE port_forward ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE static_nat ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE conntrack ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE address_set ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE address_set_member ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE service ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE service_entry ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE policer ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE shaper ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE acl ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE acl_rule ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE acl_rule_source ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE acl_rule_destination ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE peering ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE peering_side ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE peering_expose ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE peering_expose_ip ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE peering_expose_not ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE peering_expose_as ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE peering_expose_as_not ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE peering_expose_port ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE masquerade_destination ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE nat_exclusion ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE nat_exclusion_source ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE nat_exclusion_destination ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE port_forward_source ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE route_source ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE route_source_vpc ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE telemetry_exporter ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE probe ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));
ALTER TABLE intent ADD COLUMN marks TEXT CHECK (marks IS NULL OR json_valid(marks));

CREATE UNIQUE INDEX interface_unique_port ON interface (port)
  WHERE deactivated IS NULL
    AND json_extract(marks, '$.port.deactivated') IS NULL;
CREATE UNIQUE INDEX interface_unique_parent_vlan ON interface (parent, vlan)
  WHERE deactivated IS NULL
    AND json_extract(marks, '$.parent.deactivated') IS NULL
    AND json_extract(marks, '$.vlan.deactivated') IS NULL;
CREATE UNIQUE INDEX port_forward_unique_external ON port_forward (external_vpc, external_address, protocol, external_port)
  WHERE deactivated IS NULL
    AND json_extract(marks, '$.external_address.deactivated') IS NULL;
CREATE UNIQUE INDEX vpc_unique_vni ON vpc (vni)
  WHERE deactivated IS NULL
    AND json_extract(marks, '$.vni.deactivated') IS NULL;

PRAGMA user_version = 5;

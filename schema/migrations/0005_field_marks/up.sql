-- Marks of single fields: what is deactivated, and what somebody noted about it, for each field by its name in documents,
-- as one JSON text an object. NULL is what every row of the past has, so that its digest stays.
--
-- What must be unique is so among what is in effect: a deactivated field takes no value.

DROP INDEX interface_unique_port;
DROP INDEX interface_unique_parent_vlan;
DROP INDEX port_forward_unique_external;
DROP INDEX vpc_unique_vni;

-- Adds the column to every table of the configuration at once, behind its annotation, which was the last one: what ALTER TABLE
-- ADD COLUMN writes, without reading the whole schema again for each of 41 tables. Short rows read as NULL there.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (length(annotation) <= 255)',
    'CHECK (length(annotation) <= 255), marks TEXT CHECK (marks IS NULL OR json_valid(marks))')
  WHERE type = 'table';
PRAGMA writable_schema = RESET;

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

-- All masquerades let in what answers, and nothing else.
PRAGMA user_version = 7;

CREATE TEMP TABLE old_masquerade AS SELECT * FROM masquerade;
DROP TABLE masquerade;
CREATE TABLE masquerade (
  name         TEXT NOT NULL PRIMARY KEY CHECK (name GLOB '[A-Za-z0-9]*' AND length(name) <= 63),
  description  TEXT CHECK (length(description) <= 255),
  vpc          TEXT NOT NULL REFERENCES vpc (name) DEFERRABLE INITIALLY DEFERRED,
  interface    TEXT NOT NULL REFERENCES interface (name) DEFERRABLE INITIALLY DEFERRED,
  pool         TEXT REFERENCES nat_pool (name) DEFERRABLE INITIALLY DEFERRED,
  protocol     TEXT CHECK (protocol GLOB '[a-z0-9]*'),
  source_port  ANY
    CHECK (typeof(source_port) NOT IN ('real', 'blob')
      AND (source_port BETWEEN 1 AND 65535 OR source_port GLOB '[1-9]*[-,]*')),
  ports        ANY
    CHECK (typeof(ports) NOT IN ('real', 'blob') AND (ports BETWEEN 1 AND 65535 OR ports GLOB '[1-9]*[-,]*')),
  idle_timeout TEXT CHECK (idle_timeout GLOB '[0-9]*[dhms]'),
  preserve_parity     INTEGER CHECK (preserve_parity = 1),
  preserve_contiguity INTEGER CHECK (preserve_contiguity = 1),
  deactivated  INTEGER CHECK (deactivated = 1),
  annotation   TEXT CHECK (length(annotation) <= 255),
  marks        TEXT CHECK (marks IS NULL OR json_valid(marks))
) STRICT, WITHOUT ROWID;
INSERT INTO masquerade (name, description, vpc, interface, pool, protocol, source_port, ports, idle_timeout,
    preserve_parity, preserve_contiguity, deactivated, annotation, marks)
  SELECT name, description, vpc, interface, pool, protocol, source_port, ports, idle_timeout,
    preserve_parity, preserve_contiguity, deactivated, annotation, marks
  FROM old_masquerade;
DROP TABLE old_masquerade;
CREATE INDEX masquerade_vpc ON masquerade (vpc);
CREATE INDEX masquerade_interface ON masquerade (interface);
CREATE INDEX masquerade_pool ON masquerade (pool);

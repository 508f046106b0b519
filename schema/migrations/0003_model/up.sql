-- What every object can carry: that it is kept and ignored, and a note about it.

ALTER TABLE vpc ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE vpc ADD COLUMN annotation TEXT;
ALTER TABLE interface ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE interface ADD COLUMN annotation TEXT;
ALTER TABLE interface_address ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE interface_address ADD COLUMN annotation TEXT;
ALTER TABLE neighbor ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE neighbor ADD COLUMN annotation TEXT;
ALTER TABLE route ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE route ADD COLUMN annotation TEXT;
ALTER TABLE route_next_hop ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE route_next_hop ADD COLUMN annotation TEXT;
ALTER TABLE nat_pool ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE nat_pool ADD COLUMN annotation TEXT;
ALTER TABLE nat_pool_range ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE nat_pool_range ADD COLUMN annotation TEXT;
ALTER TABLE masquerade ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE masquerade ADD COLUMN annotation TEXT;
ALTER TABLE masquerade_source ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE masquerade_source ADD COLUMN annotation TEXT;
ALTER TABLE port_forward ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE port_forward ADD COLUMN annotation TEXT;
ALTER TABLE static_nat ADD COLUMN deactivated INTEGER CHECK (deactivated = 1);
ALTER TABLE static_nat ADD COLUMN annotation TEXT;

PRAGMA user_version = 3;

//! How large the tables are: entries and bytes, by what they are of.

use std::sync::mpsc::{self, Sender};

use rewire_tables::Tables;

use crate::gateway::{GatewayError, Request};

/// How large the tables of one generation are. Bytes are those of one half; there are two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSizes {
    /// The routes of each VPC.
    pub vpcs: Vec<VpcSizes>,
    /// The rules of each ACL.
    pub acls: Vec<AclSizes>,
    /// Neighbors that the configuration names.
    pub static_neighbors: usize,
    /// Neighbors that were learned.
    pub learned_neighbors: usize,
}

/// How many routes a VPC has, for IPv4 and IPv6, and the bytes that they take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcSizes {
    /// The VPC's name.
    pub vpc: String,
    /// Routes: of IPv4, and of IPv6.
    pub routes: [usize; 2],
    /// Their bytes.
    pub memory: [usize; 2],
}

/// How many rules an ACL has, and the bytes that its classifiers take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclSizes {
    /// The ACL's name.
    pub acl: String,
    /// Its rules.
    pub rules: usize,
    /// Their bytes.
    pub memory: usize,
}

impl TableSizes {
    /// Cost: the VPCs and the ACLs, not what is in them.
    pub(crate) fn of(tables: &Tables) -> TableSizes {
        let (static_neighbors, learned_neighbors) = tables.neighbor_counts();
        TableSizes {
            vpcs: tables
                .vpcs()
                .map(|(_, vpc)| VpcSizes {
                    vpc: vpc.name().to_owned(),
                    routes: vpc.route_counts(),
                    memory: vpc.table_memory(),
                })
                .collect(),
            acls: tables
                .acls()
                .map(|(_, acl)| AclSizes {
                    acl: acl.name().to_owned(),
                    rules: acl.rules().len(),
                    memory: acl.memory(),
                })
                .collect(),
            static_neighbors,
            learned_neighbors,
        }
    }
}

/// Who can be asked how large the tables are: the manager. It costs workers nothing.
#[derive(Clone, Debug)]
pub struct SizesOfTables(pub(crate) Sender<Request>);

impl SizesOfTables {
    /// How large the live tables are.
    ///
    /// # Errors
    /// The gateway is stopping.
    pub fn ask(&self) -> Result<TableSizes, GatewayError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let request = Request::TableSizes(reply);
        self.0.send(request).map_err(|_| GatewayError::Stopping)?;
        answer.recv().map_err(|_| GatewayError::Stopping)
    }
}

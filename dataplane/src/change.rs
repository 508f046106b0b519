//! What a revision asks of the data path: one change of its tables and its ports.

use rewire_feed::SourceConfig;
use rewire_schema::model::InterfaceRow;
use rewire_tables::{InterfaceIndex, TableOperation};

use crate::port::PortRequest;

/// One step from a revision to the next, as a compiler makes it.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// The operations on the tables, in order. They become visible together.
    pub operations: Vec<TableOperation>,
    /// The ports that close and open, in order: those without a request close.
    pub ports: Vec<(InterfaceIndex, Option<PortRequest>)>,
    /// The sources of learned routes, where they are others than before.
    pub sources: Option<Vec<SourceConfig>>,
}

impl
    From<(
        Vec<TableOperation>,
        Vec<(InterfaceIndex, Option<InterfaceRow>)>,
    )> for Change
{
    /// From operations, and interfaces whose port closes (no row) or opens (with the interface's row).
    fn from(
        (operations, ports): (
            Vec<TableOperation>,
            Vec<(InterfaceIndex, Option<InterfaceRow>)>,
        ),
    ) -> Self {
        let request = |index: InterfaceIndex, row: InterfaceRow| {
            Some(PortRequest {
                index,
                interface: row.name.to_string(),
                port: row.port?,
                mtu: row.mtu,
            })
        };
        let ports = ports
            .into_iter()
            .map(|(interface, row)| (interface, row.and_then(|row| request(interface, row))));
        Change {
            operations,
            ports: ports.collect(),
            sources: None,
        }
    }
}

//! Services.

use super::facts::Facts;
use super::look_up::LookUp;
use super::packets::Packets;
use super::{Problem, Problems};
use crate::model::{ServiceEntryRow, ServiceRow};
use crate::types::Name;

pub(super) fn check<L: LookUp>(facts: &Facts<'_, L>, name: &Name, problems: &mut Problems) {
    let key = (name.clone(),);
    let Some(service) = facts.rows.find::<ServiceRow>(&key) else {
        return;
    };
    let mut none = true;
    for entry in facts.rows.below::<ServiceEntryRow, _>(key.clone()) {
        none = false;
        let packets = Packets {
            protocol: Some(entry.protocol),
            source_port: entry.source_port.as_ref(),
            destination_port: entry.destination_port.as_ref(),
            icmp_type: entry.icmp_type,
            icmp_code: entry.icmp_code,
        };
        packets.check(&|| super::path(&*entry), problems);
    }
    if none {
        let message = "expected at least one entry, the service has none";
        problems.push(Problem::new(super::path(&*service), message));
    }
}

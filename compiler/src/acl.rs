//! Access control lists: from rows to rules.
//!
//! An ACL is an entity, and so is each of its rules, so that a rule that changes costs that rule. An address set and a
//! service are worked out once in a compilation, and shared by the rules that name them.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use rewire_schema::Path;
use rewire_schema::model::*;
use rewire_schema::types::{self, Addresses, Name, Ports, Protocol};
use rewire_tables::acl::{
    AclAction, AclDecision, AclDefault, AclScope, AddressRanges, PacketPattern, PortRange,
    RuleCounter,
};
use rewire_tables::{AclIndex, AclKey, AclRule, TableOperation};

use crate::derive::{Derivation, Derived, path, unknown};
use crate::entity::Entity;
use crate::error::CompileError;
use crate::references::{Key, Link};
use crate::state::{members_of, rule_addresses_of, service_entries_of};

/// What a rule depends on: its ACL, the VPCs that it names, its address sets and its service.
pub(crate) fn rule_links(row: &AclRuleRow) -> impl Iterator<Item = Link> {
    let entity = Entity::AclRule(row.acl.clone(), row.sequence);
    let keys = [
        Some(Key::Acl(row.acl.clone())),
        row.from_vpc.clone().map(Key::Vpc),
        row.to_vpc.clone().map(Key::Vpc),
        row.source_set.clone().map(Key::AddressSet),
        row.destination_set.clone().map(Key::AddressSet),
        row.service.clone().map(Key::Service),
    ];
    let keys = keys.into_iter().flatten();
    keys.map(move |key| Link::Depends(key, entity.clone()))
}

impl Derivation<'_> {
    /// The index of an ACL, where one is named.
    pub(crate) fn acl_index(
        &self,
        name: Option<&Name>,
        path: impl FnOnce() -> Path,
    ) -> Result<Option<AclIndex>, CompileError> {
        let Some(name) = name else { return Ok(None) };
        match self.state.acls.get(name) {
            Some(index) => Ok(Some(AclIndex(index))),
            None => Err(unknown(path(), "ACL", name)),
        }
    }

    pub(crate) fn acl(&self, name: &Name) -> Option<TableOperation> {
        let row = self.configuration().acl.get(&(name.clone(),))?;
        Some(TableOperation::SetAcl {
            acl: AclIndex(self.state.acls.get(name)?),
            name: name.as_str().into(),
            default: match row.default_action {
                types::AclDefault::Allow => AclDefault::Allow,
                types::AclDefault::Deny => AclDefault::Deny,
                types::AclDefault::Reject => AclDefault::Reject,
                types::AclDefault::DenyUnlessExposed => AclDefault::DenyUnlessExposed,
            },
            // Given by the gateway, which counts.
            counter: RuleCounter::NONE,
        })
    }

    pub(crate) fn acl_rule(&mut self, acl: &Name, sequence: u32) -> Derived {
        let state = self.state;
        let (sources, destinations) = rule_addresses_of(&state.configuration, acl, sequence);
        let Some(row) = state.configuration.acl_rule.get(&(acl.clone(), sequence)) else {
            return match sources.is_empty() && destinations.is_empty() {
                true => Ok(None),
                false => Err(unknown(rule_path(acl, sequence), "rule", sequence)),
            };
        };
        let Some(index) = state.acls.get(acl).map(AclIndex) else {
            return Err(unknown(path(row), "ACL", acl));
        };
        let vpc = |name: &Option<Name>, field: &str| {
            let name = name.as_ref();
            name.map(|name| self.vpc_index(name, || path(row).join(field)))
                .transpose()
        };
        let (from, to) = (vpc(&row.from_vpc, "from")?, vpc(&row.to_vpc, "to")?);
        let unknown_set = |field: &'static str| {
            move |set: &Name| unknown(path(row).join(field), "address set", set)
        };
        let sources =
            self.addresses(&sources, row.source_set.as_ref(), unknown_set("source_set"))?;
        let destinations = self.addresses(
            &destinations,
            row.destination_set.as_ref(),
            unknown_set("destination_set"),
        )?;
        let rule = AclRule {
            decision: AclDecision {
                action: match row.action {
                    types::AclAction::Allow => AclAction::Allow,
                    types::AclAction::Deny => AclAction::Deny,
                    types::AclAction::Reject => AclAction::Reject,
                },
                scope: match row.scope {
                    types::AclScope::Flow => AclScope::Flow,
                    types::AclScope::Packet => AclScope::Packet,
                },
                log: row.log,
            },
            from,
            to,
            sources,
            destinations,
            packets: self.packets(row)?,
        };
        Ok(Some(TableOperation::SetAclRule {
            acl: index,
            sequence,
            rule: rule.into(),
            counter: RuleCounter::NONE,
        }))
    }

    /// The addresses that a rule says, and those of the set that it names; none where it says neither, which is any.
    fn addresses(
        &mut self,
        own: &[Addresses],
        set: Option<&Name>,
        unknown_set: impl FnOnce(&Name) -> CompileError,
    ) -> Result<Option<Arc<AddressRanges>>, CompileError> {
        let Some(name) = set else {
            let ranges = (!own.is_empty()).then(|| AddressRanges::new(own.iter().map(range)));
            return Ok(ranges.map(Arc::new));
        };
        let configuration = &self.state.configuration;
        if !configuration.address_set.contains_key(&(name.clone(),)) {
            return Err(unknown_set(name));
        }
        let set = self.address_sets.entry(name.clone()).or_insert_with(|| {
            let members: Vec<Addresses> = members_of(configuration, name).collect();
            AddressRanges::new(members.iter().map(range)).into()
        });
        if own.is_empty() {
            return Ok(Some(Arc::clone(set)));
        }
        let both = own.iter().map(range).chain(set.iter());
        Ok(Some(AddressRanges::new(both).into()))
    }

    /// What a rule's packets look like above IP: what its service says, or its own fields.
    fn packets(&mut self, row: &AclRuleRow) -> Result<Arc<[PacketPattern]>, CompileError> {
        let Some(name) = &row.service else {
            return Ok(patterns(&Upper {
                protocol: row.protocol,
                source_port: row.source_port.as_ref(),
                destination_port: row.destination_port.as_ref(),
                icmp: (row.icmp_type, row.icmp_code),
            })
            .collect());
        };
        let configuration = &self.state.configuration;
        if !configuration.service.contains_key(&(name.clone(),)) {
            return Err(unknown(path(row).join("service"), "service", name));
        }
        let packets = self.services.entry(name.clone()).or_insert_with(|| {
            let entries = service_entries_of(configuration, name);
            entries
                .flat_map(|entry| {
                    patterns(&Upper {
                        protocol: Some(entry.protocol),
                        source_port: entry.source_port.as_ref(),
                        destination_port: entry.destination_port.as_ref(),
                        icmp: (entry.icmp_type, entry.icmp_code),
                    })
                })
                .collect()
        });
        Ok(Arc::clone(packets))
    }
}

fn rule_path(acl: &Name, sequence: u32) -> Path {
    Path::new(["acls", acl.as_str(), "rules"]).join(sequence)
}

pub(crate) fn range(addresses: &Addresses) -> RangeInclusive<IpAddr> {
    let range = addresses.range();
    range.first()..=range.last()
}

/// The fields that say what packets look like above IP.
#[derive(Default)]
pub(crate) struct Upper<'a> {
    pub(crate) protocol: Option<Protocol>,
    pub(crate) source_port: Option<&'a Ports>,
    pub(crate) destination_port: Option<&'a Ports>,
    pub(crate) icmp: (Option<u8>, Option<u8>),
}

/// A pattern for each number that the protocol stands for.
pub(crate) fn patterns(upper: &Upper<'_>) -> impl Iterator<Item = PacketPattern> + use<> {
    let ports = |ports: Option<&Ports>| -> Box<[PortRange]> {
        ports.map_or_else(Box::default, |ports| ports.ranges().into())
    };
    let source_ports = ports(upper.source_port);
    let destination_ports = match upper.icmp {
        (Some(icmp_type), code) => {
            let place = |code| AclKey::<IpAddr>::icmp(icmp_type, code);
            [(place(code.unwrap_or(0)), place(code.unwrap_or(u8::MAX)))].into()
        }
        (None, _) => ports(upper.destination_port),
    };
    let numbers: Vec<Option<u8>> = match upper.protocol {
        Some(protocol) => protocol.numbers().map(Some).collect(),
        None => vec![None],
    };
    numbers.into_iter().map(move |protocol| PacketPattern {
        protocol,
        source_ports: source_ports.clone(),
        destination_ports: destination_ports.clone(),
    })
}

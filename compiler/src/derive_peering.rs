//! What the tables must hold for peerings: who may cross, and how what is exposed is translated. The routes that lead across
//! are claims to slots, like others: see [`Derivation::lead`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rewire_schema::Row;
use rewire_schema::types::{ExposeNat, Name, Prefix};
use rewire_tables::nat::MasqueradeList;
use rewire_tables::{
    Masquerade, PeeringIndex, PortForward, PortForwardKey, StaticNat, TableOperation, VpcIndex,
};

use crate::derive::{Derivation, Derived, number_of, path, unknown};
use crate::entity::Entity;
use crate::entries::{Entries, Entry, Slot};
use crate::error::CompileError;
use crate::exposes::{ExposeKey, Exposed, Forward, covering, exposed_keys, rows_of, sides_of};
use crate::references::Key;

impl Derivation<'_> {
    pub(crate) fn peering(&self, name: &Name) -> Derived {
        let configuration = self.configuration();
        let mut sides = sides_of(configuration, name);
        let Some(row) = configuration.peering.get(&(name.clone(),)) else {
            return match sides.next() {
                Some(side) => Err(unknown(path(side), "peering", name)),
                None => Ok(None),
            };
        };
        for side in sides {
            self.vpc_index(&side.vpc, || path(side))?;
        }
        let peering = self.state.peerings.get(&row.name).map(PeeringIndex);
        let acl = self.acl_index(row.acl.as_ref(), || path(row).join("acl"))?;
        let set = |peering| TableOperation::SetPeering {
            peering,
            name: name.as_str().into(),
            acl,
        };
        Ok(peering.map(set))
    }

    /// Senders may cross where an expose of their side has them, and does not take them out.
    pub(crate) fn sender(&self, peering: &Name, vpc: &Name, prefix: Prefix) -> Option<Entry> {
        let senders = &self.state.references.senders;
        let slot = |prefix| (peering.clone(), vpc.clone(), prefix);
        senders.of(&slot(prefix)).next()?;
        let (mut exposed, mut taken_out) = (BTreeSet::new(), BTreeSet::new());
        for around in covering(prefix) {
            let slot = slot(around);
            for (expose, is_exposed) in senders.of(&slot) {
                match is_exposed {
                    true => exposed.insert(expose.clone()),
                    false => taken_out.insert(expose.clone()),
                };
            }
        }
        Some(TableOperation::SetSender {
            peering: self.state.peerings.get(peering).map(PeeringIndex)?,
            vpc: self.state.vpcs.get(vpc).map(VpcIndex)?,
            prefix: prefix.network(),
            admitted: exposed.difference(&taken_out).next().is_some(),
        })
    }

    pub(crate) fn expose(&self, key: &ExposeKey) -> Result<Entries, CompileError> {
        let configuration = self.configuration();
        let (peering, vpc, name) = key;
        let Some(row) = configuration.peering_expose.get(key) else {
            return match rows_of(configuration, key).next() {
                Some(row) => Err(unknown(Row::path(&row), "expose", name)),
                None => Ok(Entries::NONE),
            };
        };
        let side = (peering.clone(), vpc.clone());
        if !configuration.peering_side.contains_key(&side) {
            return Err(unknown(path(row), "side", vpc));
        }
        let Some(exposed) = Exposed::of(configuration, key) else {
            return Ok(Entries::NONE);
        };
        let (size, most) = exposed.size();
        if size > most {
            let path = path(row);
            return Err(CompileError::ExposeTooLarge { path, size, most });
        }
        let indices = (
            self.state.peerings.get(peering).map(PeeringIndex),
            self.state.vpcs.get(vpc).map(VpcIndex),
            self.state.vpcs.get(exposed.seen_by).map(VpcIndex),
        );
        // What is missing is said where it is named.
        let (Some(peering), Some(own), Some(seen_by)) = indices else {
            return Ok(Entries::NONE);
        };
        let indices = (peering, own, seen_by);
        let entries = match row.nat {
            None => return Ok(Entries::NONE),
            Some(ExposeNat::Static) => self.exposed_static(&exposed, key, indices),
            Some(ExposeNat::PortForward) => self.exposed_forwards(&exposed, key, indices),
            Some(ExposeNat::Masquerade) => self.exposed_masquerade(&exposed, key, indices),
        };
        Ok(Entries::Many(entries))
    }

    fn exposed_static(
        &self,
        exposed: &Exposed<'_>,
        key: &ExposeKey,
        (peering, own_vpc, seen_by): Indices,
    ) -> BTreeMap<Slot, Entry> {
        let name = rule_name(key);
        let entries = exposed.pairs().filter(|(seen, own)| {
            let [external, internal] = exposed_keys(key, exposed.seen_by, (*seen, *own));
            self.has(&external, key) && self.has(&internal, key)
        });
        let entries = entries.map(|(seen, own)| {
            let value = StaticNat {
                name: Arc::clone(&name),
                external_vpc: seen_by,
                external: IpNet::from(seen),
                internal_vpc: own_vpc,
                internal: IpNet::from(own),
                nptv6: false,
                idle_timeout: exposed.row.idle_timeout.map(Duration::from),
                peering: Some(peering),
            };
            let set = TableOperation::SetStaticNat {
                value: value.into(),
            };
            ((seen, 0, 0), set)
        });
        entries.collect()
    }

    fn exposed_forwards(
        &self,
        exposed: &Exposed<'_>,
        key: &ExposeKey,
        (peering, own_vpc, seen_by): Indices,
    ) -> BTreeMap<Slot, Entry> {
        let name = rule_name(key);
        let entries = exposed.forwards().filter(|forward| {
            let Forward { protocol, seen, .. } = forward;
            let wanted = Key::PortForwardOf(exposed.seen_by.clone(), *protocol, seen.0, seen.1);
            self.has(&wanted, key)
        });
        let entries = entries.map(|forward| {
            let protocol = number_of(forward.protocol);
            let ((address, port), own) = (forward.seen, forward.own);
            let key = PortForwardKey {
                vpc: seen_by,
                protocol,
                address,
                port,
            };
            let value = PortForward {
                name: Arc::clone(&name),
                vpc: own_vpc,
                address: own.0,
                port: own.1,
                sources: None,
                idle_timeout: exposed.row.idle_timeout.map(Duration::from),
                peering: Some(peering),
            };
            let set = TableOperation::SetPortForward { key, value };
            ((address, protocol, port), set)
        });
        entries.collect()
    }

    fn exposed_masquerade(
        &self,
        exposed: &Exposed<'_>,
        key: &ExposeKey,
        (peering, own_vpc, _): Indices,
    ) -> BTreeMap<Slot, Entry> {
        let rule = Masquerade {
            idle_timeout: exposed.row.idle_timeout.map(Duration::from),
            ..Masquerade::new(rule_name(key), exposed.shared())
        };
        let rules = MasqueradeList::from([Arc::new(rule)]);
        let sources = exposed.masqueraded().filter(|source| {
            let (peering, vpc, _) = key;
            let source = Prefix::new(*source);
            let wanted = Key::PeeringMasqueradeOf(peering.clone(), vpc.clone(), source);
            self.has(&wanted, key)
        });
        let entries = sources.map(|source| {
            let set = TableOperation::SetPeeringMasquerade {
                peering,
                vpc: own_vpc,
                source,
                rules: Arc::clone(&rules),
            };
            ((source.network(), source.prefix_len(), 0), set)
        });
        entries.collect()
    }

    /// Whether an expose has what only one can have: a rule of NAT goes before exposes, and of these the one with the lowest
    /// metric, then the first by name.
    fn has(&self, wanted: &Key, key: &ExposeKey) -> bool {
        let rank = |entity: &&Entity| match entity {
            Entity::Expose(key) => {
                let row = self.configuration().peering_expose.get(key);
                Some((row.and_then(|row| row.metric).unwrap_or(0), key.clone()))
            }
            _ => None,
        };
        let references = &self.state.references;
        if references.around(wanted).is_some() {
            return false;
        }
        let first = references.dependents.of(wanted).min_by_key(rank);
        matches!(first, Some(Entity::Expose(first)) if first == key)
    }
}

/// The peering, the VPC of the side, and the VPC that sees what it exposes.
type Indices = (PeeringIndex, VpcIndex, VpcIndex);

/// What the tables call the rule of an expose.
fn rule_name((peering, vpc, name): &ExposeKey) -> Arc<str> {
    format!("{peering}/{vpc}/{name}").into()
}

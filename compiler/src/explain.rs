//! Why the tables hold what they hold: entry → rows. Which revision a row comes from is the store's to say.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use rewire_schema::Row;
use rewire_schema::types::{Name, Prefix};
use rewire_tables::{MOST_LOOKUPS, Route, TableOperation, Tables, VpcIndex};

use crate::compiler::Compiler;
use crate::derive::derive;
use crate::entity::Entity;
use crate::entries::Entries;
use crate::exposes::{covering, exposes_of};
use crate::provenance::provenance;
use crate::references::masquerade_slot;
use crate::state::{LEAST_ADDRESS, State, sources_of};

/// What may be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What happens in a VPC to packets for an address: the route that decides, through all tables on the way.
    Address(Name, IpAddr),
    /// What a VPC's table holds for exactly this prefix.
    Prefix(Name, Prefix),
    /// An interface, with the neighbors that are set by hand there.
    Interface(Name),
    /// An ACL with its rules, or one of them by its sequence number.
    Acl(Name, Option<u32>),
    /// Rules of NAT of this name, of any kind, and pools.
    Nat(Name),
    /// A peering: who may cross, and how what is exposed is translated.
    Peering(Name),
}

/// Entries of the tables that come from the same rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What the tables hold, a line an entry; empty where the rows come to nothing.
    pub entries: Vec<String>,
    /// The rows that it comes from, in the order of their tables and keys.
    pub rows: Vec<Row>,
}

impl Compiler {
    /// Explains what the tables hold; nothing where there is no such thing. Cost: what is asked for; an address costs a
    /// derivation for every length of a prefix and every VPC on its way.
    pub fn explain(&self, question: &Question) -> Vec<Explanation> {
        let state = &self.state;
        let configuration = &state.configuration;
        match question {
            Question::Address(vpc, address) => self.way(vpc, *address),
            Question::Prefix(vpc, prefix) => self.entities([Entity::Route(vpc.clone(), *prefix)]),
            Question::Interface(name) => {
                let neighbors = configuration
                    .neighbor
                    .range((name.clone(), LEAST_ADDRESS)..);
                let neighbors = neighbors
                    .map(|((interface, address), _)| (interface, address))
                    .take_while(|(interface, _)| *interface == name)
                    .map(|(interface, address)| Entity::Neighbor(interface.clone(), *address));
                self.entities(
                    [Entity::Interface(name.clone())]
                        .into_iter()
                        .chain(neighbors),
                )
            }
            Question::Acl(name, Some(sequence)) => {
                self.entities([Entity::AclRule(name.clone(), *sequence)])
            }
            Question::Acl(name, None) => {
                let rules = configuration.acl_rule.range((name.clone(), 0)..);
                let rules = rules
                    .map(|(key, _)| key)
                    .take_while(|(acl, _)| acl == name)
                    .map(|(acl, sequence)| Entity::AclRule(acl.clone(), *sequence));
                self.entities([Entity::Acl(name.clone())].into_iter().chain(rules))
            }
            Question::Nat(name) => {
                let row = configuration.masquerade.get(&(name.clone(),));
                let sources = row.into_iter().flat_map(|row| {
                    sources_of(configuration, name).map(|source| {
                        let (vpc, interface, source) = masquerade_slot(row, source);
                        Entity::Masqueraded(vpc, interface, source)
                    })
                });
                let rules = [
                    Entity::PortForward(name.clone()),
                    Entity::StaticNat(name.clone()),
                    Entity::Pool(name.clone()),
                ];
                let mut explained = self.entities(sources.chain(rules));
                explained.extend(self.exclusion(name));
                explained.extend(self.nat64(name));
                explained
            }
            Question::Peering(name) => {
                let senders = state.references.senders.from((
                    name.clone(),
                    Name::LEAST,
                    crate::state::least_prefix(),
                ));
                let senders: BTreeSet<Entity> = senders
                    .map(|(slot, _)| slot)
                    .take_while(|(peering, ..)| peering == name)
                    .map(|(peering, vpc, prefix)| {
                        Entity::Sender(peering.clone(), vpc.clone(), *prefix)
                    })
                    .collect();
                let exposes = exposes_of(configuration, name).cloned().map(Entity::Expose);
                let all = [Entity::Peering(name.clone())].into_iter();
                let mut explained = self.entities(all.chain(senders).chain(exposes));
                // What is exposed as it is has no translation to be explained.
                explained.retain(|found| !found.entries.is_empty());
                explained
            }
        }
    }

    /// An exclusion: of the entry that it shares with the others of its VPC, the line that is its own.
    fn exclusion(&self, name: &Name) -> Option<Explanation> {
        let row = self
            .state
            .configuration
            .nat_exclusion
            .get(&(name.clone(),))?;
        let all = operations(&self.state, &Entity::Exclusions(row.vpc.clone()));
        let own = format!("exclusion {name} ");
        let mut entries = lines(&self.state, all);
        entries.retain(|line| line.starts_with(&own));
        Some(Explanation {
            entries,
            rows: provenance(&self.state, &Entity::Exclusion(name.clone())),
        })
    }

    /// A NAT64: of the entry that it shares with the others of its VPC, the line that is its own.
    fn nat64(&self, name: &Name) -> Option<Explanation> {
        let row = self.state.configuration.nat64.get(&(name.clone(),))?;
        let all = operations(&self.state, &Entity::Nat64s(row.vpc.clone()));
        let own = format!("nat64 {name} ");
        let mut entries = lines(&self.state, all);
        entries.retain(|line| line.starts_with(&own));
        Some(Explanation {
            entries,
            rows: provenance(&self.state, &Entity::Nat64(name.clone())),
        })
    }

    fn entities(&self, entities: impl IntoIterator<Item = Entity>) -> Vec<Explanation> {
        let explained = entities.into_iter().map(|entity| Explanation {
            entries: lines(&self.state, operations(&self.state, &entity)),
            rows: provenance(&self.state, &entity),
        });
        explained.filter(|found| !found.rows.is_empty()).collect()
    }

    /// The routes that a packet to an address takes, one a table. Only the last one decides.
    fn way(&self, vpc: &Name, address: IpAddr) -> Vec<Explanation> {
        let state = &self.state;
        let mut explained = Vec::new();
        let mut next = Some(vpc.clone());
        for _ in 0..MOST_LOOKUPS {
            let Some(vpc) = next else { break };
            let host = Prefix::new(IpNet::from(address));
            let routes = covering(host).map(|prefix| Entity::Route(vpc.clone(), prefix));
            let found = routes
                .map(|entity| (operations(state, &entity), entity))
                .find(|(operations, _)| !operations.is_empty());
            let Some((operations, entity)) = found else {
                break;
            };
            next = match operations.first() {
                Some(TableOperation::SetRoute {
                    route: Route::Vpc(to) | Route::Peering { vpc: to, .. },
                    ..
                }) => self.vpc_name(*to),
                _ => None,
            };
            explained.push(Explanation {
                entries: lines(state, operations),
                rows: provenance(state, &entity),
            });
        }
        explained
    }

    pub(crate) fn vpc_name(&self, index: VpcIndex) -> Option<Name> {
        let mut names = self.state.configuration.vpc.keys();
        let name = names.find(|(name,)| self.vpc_index(name) == Some(index))?;
        Some(name.0.clone())
    }
}

/// The entries of an entity, as the operations that set them.
fn operations(state: &State, entity: &Entity) -> Vec<TableOperation> {
    match derive(state, std::slice::from_ref(entity)).as_deref() {
        Ok([Entries::One(Some(one))]) => vec![one.clone()],
        Ok([Entries::Many(many)]) => many.values().cloned().collect(),
        // A state that the compiler holds was compiled, so nothing is wrong with it.
        _ => Vec::new(),
    }
}

/// Entries as people read them, with the names that the tables have. The lines are those that digests are made of.
fn lines(state: &State, operations: Vec<TableOperation>) -> Vec<String> {
    let mut tables = names(state);
    let known: BTreeSet<String> = tables.canonical_lines().into_iter().collect();
    let is_name = |operation: &TableOperation| {
        use TableOperation::{SetAcl, SetInterface, SetPeering, SetVpc};
        matches!(
            operation,
            SetVpc { .. } | SetInterface { .. } | SetAcl { .. } | SetPeering { .. }
        )
    };
    let mut names = Tables::default();
    let are_names = operations.iter().any(is_name);
    for operation in &operations {
        tables.apply(operation);
        names.apply(operation);
    }
    let lines = tables.canonical_lines().into_iter();
    match are_names {
        // It is among what is known already: by its own beginning.
        true => {
            let own: Vec<String> = names.canonical_lines();
            let beginning = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
            let own: BTreeSet<String> = own.iter().map(|line| beginning(line)).collect();
            lines
                .filter(|line| own.contains(&beginning(line)))
                .collect()
        }
        false => lines.filter(|line| !known.contains(line)).collect(),
    }
}

/// Tables that know every VPC, interface, ACL and peering, and nothing else.
fn names(state: &State) -> Tables {
    let configuration = &state.configuration;
    let vpcs = configuration.vpc.keys().map(|(n,)| Entity::Vpc(n.clone()));
    let interfaces = configuration.interface.keys();
    let interfaces = interfaces.map(|(n,)| Entity::Interface(n.clone()));
    let acls = configuration.acl.keys().map(|(n,)| Entity::Acl(n.clone()));
    let peerings = configuration.peering.keys();
    let peerings = peerings.map(|(n,)| Entity::Peering(n.clone()));
    let mut tables = Tables::default();
    for entity in vpcs.chain(interfaces).chain(acls).chain(peerings) {
        operations(state, &entity)
            .iter()
            .for_each(|operation| tables.apply(operation));
    }
    tables
}

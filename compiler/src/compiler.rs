//! The warm compiler: one state, and the way to the next.

use std::borrow::Cow;
use std::sync::Arc;

use rewire_schema::model::{Configuration, InterfaceRow};
use rewire_schema::port::Port;
use rewire_schema::types::{InterfaceType, Name};
use rewire_schema::{Changeset, Row, RowRef};
use rewire_tables::{InterfaceIndex, PeeringIndex, TableOperation, VpcIndex};

use crate::dependencies::dependents;
use crate::derive::derive;
use crate::entries::Entries;
use crate::error::{CompileError, Errors};
use crate::operations::operations;
use crate::state::State;
use crate::stored::{Split, Stored, parts};
use crate::unsupported;
use crate::whole::whole;

/// What a compilation asks of the data path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// The operations on the tables, in order. They belong into one generation: in between, the tables mean nothing.
    pub operations: Vec<TableOperation>,
    /// The ports to close and to open, in order: those that close come first.
    pub ports: Vec<PortChange>,
}

impl Compiled {
    /// The operations, and the ports that change: an interface whose port closes comes without a row, one whose port opens
    /// with its row.
    pub fn into_parts(
        self,
    ) -> (
        Vec<TableOperation>,
        Vec<(InterfaceIndex, Option<InterfaceRow>)>,
    ) {
        let ports = self.ports.into_iter().map(|change| match change {
            PortChange::Close { interface } => (interface, None),
            PortChange::Open { interface, row } => (interface, Some(*row)),
        });
        (self.operations, ports.collect())
    }
}

/// What happens to an interface's port. Only an interface that comes or goes, or whose `port` is another one, has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortChange {
    /// The interface has no port any more.
    Close {
        /// The interface, by the index that it had.
        interface: InterfaceIndex,
    },
    /// The interface gets a port.
    Open {
        /// The interface.
        interface: InterfaceIndex,
        /// Its row.
        row: Box<InterfaceRow>,
    },
}

/// Holds one revision, and compiles what leads to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiler {
    /// What is in effect.
    pub(crate) state: State,
    /// What is deactivated, with all below it.
    hidden: Configuration,
    revision: u64,
}

impl Compiler {
    /// The compiler of the empty configuration, which compiles to empty tables; revision 0.
    pub fn new() -> Self {
        Compiler::default()
    }

    /// Compiles a whole configuration as it is stored: what is deactivated is ignored. The operations lead from empty tables
    /// to it. Cost: the configuration.
    ///
    /// The configuration may be shared with somebody who looks at it meanwhile. Let them be done before the first
    /// [`apply`](Self::apply), which would copy it otherwise.
    pub fn compile(
        configuration: impl Into<Arc<Configuration>>,
        revision: u64,
    ) -> Result<(Compiler, Compiled), Errors> {
        let (effective, hidden) = parts(configuration.into());
        let state = State::of(effective)?;
        unsupported::check(state.configuration.borrowed_rows())?;
        let operations = whole(revision, &state)?;
        let compiler = Compiler {
            state,
            hidden,
            revision,
        };
        let ports = compiler.ports();
        let ports = ports.map(|(interface, row)| PortChange::Open {
            interface,
            row: row.clone().into(),
        });
        let compiled = Compiled {
            operations,
            ports: ports.collect(),
        };
        Ok((compiler, compiled))
    }

    /// Compiles a stored changeset, which leads from the state that the compiler holds to that of `revision`. Where it cannot be
    /// compiled, nothing changes. Cost: the changed rows and what depends on them.
    pub fn apply(&mut self, revision: u64, changeset: &Changeset) -> Result<Compiled, Errors> {
        let split = self.split(changeset)?;
        let changeset = split.effective.as_ref();
        let state = &mut self.state;
        let step = state.step(changeset)?;
        unsupported::check(after(changeset))?;
        let mut entities = dependents(state, changeset);
        let mut before = before(state, &entities);
        let mut ports = closed_ports(state, changeset);

        state.forward(&step);
        let known = entities.len();
        for entity in dependents(state, changeset) {
            if entities[..known].binary_search(&entity).is_err() {
                entities.push(entity);
            }
        }
        if entities.len() > known {
            // Some are named by the new state alone, as when an interface moves: back, to see what they were.
            state.backward(&step);
            before.extend(self::before(state, &entities[known..]));
            state.forward(&step);
        }
        let after = match derive(state, &entities) {
            Ok(after) => after,
            Err(errors) => {
                state.backward(&step);
                return Err(errors);
            }
        };
        ports.extend(opened_ports(state, changeset));
        let operations = operations(revision, before.into_iter().zip(after));
        for change in split.hidden.iter() {
            match change.after() {
                Some(row) => drop(self.hidden.insert(row.clone())),
                None => drop(self.hidden.remove(change.row())),
            }
        }
        self.revision = revision;
        Ok(Compiled { operations, ports })
    }

    /// Whether [`apply`](Self::apply) would take this changeset. The compiler is the same afterwards. Cost: as there.
    pub fn check(&mut self, changeset: &Changeset) -> Result<(), Errors> {
        let split = self.split(changeset)?;
        let changeset = split.effective.as_ref();
        let state = &mut self.state;
        let step = state.step(changeset)?;
        unsupported::check(after(changeset))?;
        let mut entities = dependents(state, changeset);
        state.forward(&step);
        entities.extend(dependents(state, changeset));
        entities.sort_unstable();
        entities.dedup();
        let derived = derive(state, &entities).map(drop);
        state.backward(&step);
        derived
    }

    /// The operations that lead from empty tables to the revision that the compiler holds. Cost: the configuration.
    pub fn operations(&self) -> Vec<TableOperation> {
        // A state that the compiler holds was compiled, so nothing is wrong with it.
        whole(self.revision, &self.state).unwrap_or_default()
    }

    /// The revision that the compiler holds.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What is in effect of the configuration that the compiler holds: all but what is deactivated.
    pub fn configuration(&self) -> &Configuration {
        &self.state.configuration
    }

    /// The configuration that the compiler holds, as it is stored. Cost: a copy of it, where anything is deactivated.
    pub fn stored(&self) -> Cow<'_, Configuration> {
        if self.hidden.is_empty() {
            return Cow::Borrowed(&self.state.configuration);
        }
        let mut stored = Configuration::clone(&self.state.configuration);
        for row in self.hidden.rows() {
            stored.insert(row);
        }
        Cow::Owned(stored)
    }

    fn split<'c>(&self, changeset: &'c Changeset) -> Result<Split<'c>, CompileError> {
        let stored = Stored {
            effective: &self.state.configuration,
            hidden: &self.hidden,
        };
        Ok(stored.split(changeset)?)
    }

    /// The index of a VPC.
    pub fn vpc_index(&self, name: &Name) -> Option<VpcIndex> {
        self.state.vpcs.get(name).map(VpcIndex)
    }

    /// The index of an interface.
    pub fn interface_index(&self, name: &Name) -> Option<InterfaceIndex> {
        self.state.interfaces.get(name).map(InterfaceIndex)
    }

    /// The index of a peering.
    pub fn peering_index(&self, name: &Name) -> Option<PeeringIndex> {
        self.state.peerings.get(name).map(PeeringIndex)
    }

    /// Every interface that has a port, by name.
    pub fn ports(&self) -> impl Iterator<Item = (InterfaceIndex, &InterfaceRow)> {
        let rows = self.state.configuration.interface.values();
        rows.filter(|row| port(row).is_some())
            .filter_map(|row| Some((self.interface_index(&row.name)?, row)))
    }
}

fn after(changeset: &Changeset) -> impl Iterator<Item = RowRef<'_>> {
    changeset
        .iter()
        .filter_map(|change| change.after().map(Row::borrowed))
}

/// What the tables hold for these entities. A state that the compiler holds was compiled, so nothing is wrong with it.
fn before(state: &State, entities: &[crate::entity::Entity]) -> Vec<Entries> {
    let before = derive(state, entities);
    debug_assert!(
        before.is_ok(),
        "the state that is held was compiled: {before:?}"
    );
    before.unwrap_or_else(|_| vec![Entries::NONE; entities.len()])
}

/// The port of an interface that is up.
fn port(interface: &InterfaceRow) -> Option<&Port> {
    let port = interface.port.as_ref();
    port.filter(|_| interface.kind() == InterfaceType::Physical && !interface.disabled)
}

/// The rows of interfaces whose port changes, before and after, where they have any.
fn moved_ports(
    changeset: &Changeset,
) -> impl Iterator<Item = (Option<&InterfaceRow>, Option<&InterfaceRow>)> {
    fn interface(row: Option<&Row>) -> Option<&InterfaceRow> {
        match row {
            Some(Row::Interface(row)) => Some(row.as_ref()).filter(|row| port(row).is_some()),
            _ => None,
        }
    }
    let rows = changeset
        .iter()
        .map(|change| (interface(change.before()), interface(change.after())));
    rows.filter(|(before, after)| before.map(port) != after.map(port))
}

/// The ports that close, in the state before.
fn closed_ports(state: &State, changeset: &Changeset) -> Vec<PortChange> {
    let rows = moved_ports(changeset).filter_map(|(before, _)| before);
    let interfaces = rows.filter_map(|row| state.interfaces.get(&row.name).map(InterfaceIndex));
    interfaces
        .map(|interface| PortChange::Close { interface })
        .collect()
}

/// The ports that open, in the state after.
fn opened_ports(state: &State, changeset: &Changeset) -> Vec<PortChange> {
    let rows = moved_ports(changeset).filter_map(|(_, after)| after);
    let interfaces = rows.filter_map(|row| Some((state.interfaces.get(&row.name)?, row)));
    interfaces
        .map(|(index, row)| PortChange::Open {
            interface: InterfaceIndex(index),
            row: row.clone().into(),
        })
        .collect()
}

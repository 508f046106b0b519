//! The interfaces of the revision that is live, by name and by index. A name keeps its number through all revisions; the index of
//! an interface that goes and comes again may be another.

use std::collections::BTreeMap;

use rewire_dataplane::VirtualGateway;
use rewire_tables::InterfaceIndex;

use crate::traffic::Entrance;

/// An interface that frames can come in by now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    pub(crate) interface: InterfaceIndex,
    pub(crate) mac: [u8; 6],
}

#[derive(Default)]
pub(crate) struct Ports {
    names: Vec<String>,
    numbers: BTreeMap<String, usize>,
    /// By number: the interface, where the revision has it and it is up.
    now: Vec<Option<Port>>,
    /// By number: whether any revision so far has had it.
    has_been: Vec<bool>,
    /// By number: the traffic's entrance of that name.
    entrances: Vec<Option<Entrance>>,
    /// By the traffic's entrances: the numbers of their names.
    of_entrances: Vec<usize>,
    /// By index: the number.
    by_index: Vec<Option<usize>>,
}

impl Ports {
    /// The number of a name, which it keeps.
    pub(crate) fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len();
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        self.now.push(None);
        self.has_been.push(false);
        self.entrances.push(None);
        number
    }

    /// The numbers of all names.
    pub(crate) fn numbers(&self) -> &BTreeMap<String, usize> {
        &self.numbers
    }

    /// Takes over what the gateway has now.
    pub(crate) fn follow(&mut self, gateway: &VirtualGateway) {
        self.now.fill(None);
        self.by_index.clear();
        let open: Vec<_> = gateway.interfaces().collect();
        for (name, interface) in open {
            let mac = gateway.with_tables(|tables| tables.interface(interface).map(|i| i.mac.0));
            let Some(mac) = mac.flatten() else { continue };
            let number = self.number(name);
            self.now[number] = Some(Port { interface, mac });
            self.has_been[number] = true;
            let position = interface.position();
            if self.by_index.len() <= position {
                self.by_index.resize(position + 1, None);
            }
            self.by_index[position] = Some(number);
        }
    }

    /// Learns the names of the traffic's entrances, as far as they are new.
    pub(crate) fn enter(&mut self, interfaces: &[String]) {
        for (entrance, name) in interfaces.iter().enumerate().skip(self.of_entrances.len()) {
            let number = self.number(name);
            self.of_entrances.push(number);
            self.entrances[number] = Some(entrance);
        }
    }

    /// The interface that frames of an entrance come in by, where the revision has it and it is up.
    pub(crate) fn of_entrance(&self, entrance: Entrance) -> Option<Port> {
        let number = self.of_entrances.get(entrance)?;
        self.now.get(*number).copied().flatten()
    }

    /// The traffic's entrance by the interface with this number.
    pub(crate) fn entrance(&self, number: usize) -> Option<Entrance> {
        self.entrances.get(number).copied().flatten()
    }

    /// The number of the interface with this index, where there is one and it is up.
    pub(crate) fn at(&self, interface: InterfaceIndex) -> Option<usize> {
        self.by_index.get(interface.position()).copied().flatten()
    }

    pub(crate) fn name(&self, number: usize) -> &str {
        self.names.get(number).map_or("", String::as_str)
    }

    /// Whether any revision so far has had the interface, up.
    pub(crate) fn has_been(&self, name: &str) -> bool {
        let number = self.numbers.get(name);
        number.is_some_and(|number| self.has_been[*number])
    }

    /// The names of the interfaces that any revision so far has had.
    pub(crate) fn known(&self) -> Vec<String> {
        let names = self.names.iter().zip(&self.has_been);
        let known = names.filter(|(_, has_been)| **has_been);
        known.map(|(name, _)| name.clone()).collect()
    }
}

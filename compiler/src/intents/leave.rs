//! The end of a walk: out by an interface, past the ACLs that have a say.

use rewire_tables::{AclIndex, InterfaceIndex, PeeringIndex};

use super::acl::{Place, Word};
use super::space::{Entry, Headers, beginning};
use super::walk::{End, Stop, Verdict, Walk, Why, stays};

impl Walk<'_> {
    /// Out by one of these interfaces: past the ACL of the interface that the packets came in by, then past that of the
    /// peering that they crossed, and then past that of the interface that they leave by.
    pub(super) fn leave(
        &mut self,
        headers: Headers,
        crossed: Option<PeeringIndex>,
        lookups: usize,
        hops: &[InterfaceIndex],
        ends: &mut Vec<End>,
    ) -> Result<(), Stop> {
        let to = self.to;
        let there = |hop: &InterfaceIndex| {
            let interface = self.network.interface(*hop)?;
            (interface.vpc == to).then_some(interface.acl_out)
        };
        let there: Vec<Option<AclIndex>> = hops.iter().filter_map(there).collect();
        if there.is_empty() {
            ends.push(stays(headers, Why::LeavesElsewhere, lookups));
            return Ok(());
        }
        let across = crossed.and_then(|peering| self.network.peering_acl(peering));
        for (entrance, acl_in) in self.entrances.iter().enumerate() {
            let mut on = vec![Part::of(headers.entry)];
            let mut stopped = Vec::new();
            if acl_in.is_some() || across.is_some() || there.iter().any(Option::is_some) {
                on = beginning(&headers.entry)
                    .into_iter()
                    .map(Part::of)
                    .collect();
                for (acl, place) in [(*acl_in, Place::Interface), (across, Place::Peering)] {
                    self.past(acl, place, &mut on)?;
                    stopped.extend(on.extract_if(.., |part| !part.passes));
                }
            }
            for acl_out in &there {
                on.iter_mut().for_each(|part| part.passes = true);
                self.past(*acl_out, Place::Interface, &mut on)?;
                on.iter_mut()
                    .for_each(|part| part.ways += usize::from(part.passes));
            }
            for part in stopped.into_iter().chain(on) {
                let (verdict, why) = match part.ways {
                    0 => (Verdict::Stays, Why::Stopped),
                    ways if ways == hops.len() => (Verdict::Reaches, Why::Leaves),
                    _ => (Verdict::Shared, Why::SomeLeave),
                };
                let entry = part.entry;
                ends.push(End {
                    entrance,
                    headers: Headers { entry, ..headers },
                    verdict,
                    why,
                    lookups,
                    words: part.words,
                });
            }
        }
        Ok(())
    }

    /// Cuts parts by what an ACL says of them.
    fn past(
        &mut self,
        acl: Option<AclIndex>,
        place: Place,
        parts: &mut Vec<Part>,
    ) -> Result<(), Stop> {
        let Some((acl, list)) = acl.and_then(|acl| Some((acl, self.network.acl(acl)?))) else {
            return Ok(());
        };
        let mut cut = Vec::with_capacity(parts.len());
        for part in parts.drain(..) {
            let vpcs = (self.from, self.to);
            for (entry, word) in list.judged((acl, place), vpcs, part.entry, &mut self.budget)? {
                let mut words = part.words.clone();
                words.push(word);
                cut.push(Part {
                    entry,
                    passes: word.passes,
                    ways: part.ways,
                    words,
                });
            }
        }
        *parts = cut;
        Ok(())
    }
}

/// A part of a box on its way past ACLs.
struct Part {
    entry: Entry,
    /// Whether the last ACL lets it pass.
    passes: bool,
    /// The ways out that it was let pass by.
    ways: usize,
    words: Vec<Word>,
}

impl Part {
    fn of(entry: Entry) -> Part {
        Part {
            entry,
            passes: true,
            ways: 0,
            words: Vec::new(),
        }
    }
}

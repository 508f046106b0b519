//! The walk of a box: as the graph walks a packet (`ingress_nat`, then `route`), with a cut wherever it tells two apart.

use std::fmt;
use std::sync::Arc;

use rewire_schema::types::Name;
use rewire_tables::{AclIndex, MOST_LOOKUPS, PeeringIndex, Route, VpcIndex};

use super::MOST_BOXES;
use super::acl::Word;
use super::network::Network;
use super::space::{Entry, Headers, Interval, address, number, shared};

/// What becomes of all packets of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They get to the VPC.
    Reaches,
    /// Some flows get there, and some do not: next hops share them.
    Shared,
    /// They do not.
    Stays,
}

/// Why a box ended where it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Leaves,
    LeavesElsewhere,
    SomeLeave,
    NoRoute,
    NotAdmitted,
    Transit,
    TooManyLookups,
    Local,
    NoMapping,
    Dropped,
    Stopped,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Leaves => "leaves there",
            Why::LeavesElsewhere => "leaves elsewhere",
            Why::SomeLeave => "leaves there by some of its next hops",
            Why::NoRoute => "no route leads on",
            Why::NotAdmitted => "the peering does not admit the sender",
            Why::Transit => "it would cross a second peering",
            Why::TooManyLookups => "it is looked up in too many VPCs",
            Why::Local => "it is for the gateway itself",
            Why::NoMapping => "no rule of NAT says to whom",
            Why::Dropped => "dropped",
            Why::Stopped => "dropped there",
        })
    }
}

/// A box at the end of its walk.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// Which of the entrances it came in by.
    pub(super) entrance: usize,
    pub(super) headers: Headers,
    pub(super) verdict: Verdict,
    pub(super) why: Why,
    /// The route tables that it was looked up in.
    pub(super) lookups: usize,
    /// What ACLs said, in the order in which it met them.
    pub(super) words: Vec<Word>,
}

/// Why a proof goes no further.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    /// There are more boxes than a proof may take apart.
    TooManyBoxes,
    /// A packet would be looked up in a VPC that this source makes routes in.
    Learned(Name),
    /// The addresses that NPTv6 makes of those of a prefix, by this rule, are not next to each other.
    Scattered(Arc<str>),
    /// This port forward leads IPv4 packets to a host of IPv6.
    OtherFamily(Arc<str>),
}

/// The boxes that may still be made.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn take(&mut self, boxes: usize) -> Result<(), Stop> {
        self.0 = self.0.checked_sub(boxes).ok_or(Stop::TooManyBoxes)?;
        Ok(())
    }
}

/// A box on its way: in the table of a VPC, across a peering or not.
struct Step {
    headers: Headers,
    vpc: VpcIndex,
    /// The peering that it has crossed.
    crossed: Option<PeeringIndex>,
    lookups: usize,
}

pub(super) struct Walk<'a> {
    pub(super) network: &'a mut Network,
    /// The ACL of each entrance, if it has one. There is an entrance at least.
    pub(super) entrances: &'a [Option<AclIndex>],
    pub(super) from: VpcIndex,
    pub(super) to: VpcIndex,
    pub(super) budget: Budget,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        network: &'a mut Network,
        entrances: &'a [Option<AclIndex>],
        (from, to): (VpcIndex, VpcIndex),
    ) -> Self {
        Walk {
            network,
            entrances,
            from,
            to,
            budget: Budget(MOST_BOXES),
        }
    }

    /// The first box of `entry` whose verdict is one that is looked for.
    pub(super) fn first(
        &mut self,
        entry: Entry,
        looked_for: &dyn Fn(Verdict) -> bool,
    ) -> Result<Option<End>, Stop> {
        let mut steps = Vec::new();
        let mut ends = Vec::new();
        self.enter(entry, &mut steps, &mut ends)?;
        loop {
            for end in ends.drain(..) {
                if looked_for(end.verdict) {
                    return Ok(Some(end));
                }
            }
            let Some(step) = steps.pop() else {
                return Ok(None);
            };
            self.route(&step, &mut steps, &mut ends)?;
        }
    }

    /// What ACLs said of a box, in words.
    pub(super) fn said(&self, end: &End) -> Vec<String> {
        let words = end.words.iter().map(|word| {
            let list = self.network.acl(word.acl);
            let name = list.map_or("", |list| &list.name);
            let rule = match word.rule {
                Some(sequence) => format!("rule {sequence}"),
                None => "the default".to_owned(),
            };
            let verdict = if word.passes {
                "lets it pass"
            } else {
                "stops it"
            };
            format!("{rule} of ACL {name} {verdict}")
        });
        words.collect()
    }

    /// Ingress NAT: what is for an external address is led elsewhere.
    fn enter(
        &mut self,
        entry: Entry,
        steps: &mut Vec<Step>,
        ends: &mut Vec<End>,
    ) -> Result<(), Stop> {
        let to = |number| address(entry.is_ipv4, number);
        let (first, last) = entry.destination;
        let external = self.network.external(self.from, (to(first), to(last)));
        self.budget.take(external.len() + 1)?;
        // What lies between the external addresses stays as it is.
        let mut next = Some(first);
        for at in external {
            let Some(begin) = next else { break };
            if begin < at.0 {
                self.begin(entry, (begin, at.0 - 1), steps);
            }
            self.translate(entry, at, steps, ends)?;
            next = at.1.checked_add(1).filter(|next| *next <= last);
        }
        if let Some(begin) = next {
            self.begin(entry, (begin, last), steps);
        }
        Ok(())
    }

    /// Packets that are not translated.
    fn begin(&self, entry: Entry, destination: (u128, u128), steps: &mut Vec<Step>) {
        let entry = Entry {
            destination,
            ..entry
        };
        steps.push(Step {
            headers: self.untranslated(entry),
            vpc: self.from,
            crossed: None,
            lookups: 1,
        });
    }

    /// Packets as they come.
    fn untranslated(&self, entry: Entry) -> Headers {
        Headers {
            entry,
            destination: entry.destination,
            is_translated: false,
            vpc_after_nat: self.from,
        }
    }

    /// Packets for one external address, or for some of one static translation: a port forward, which has one, goes before that.
    fn translate(
        &mut self,
        entry: Entry,
        at: Interval<u128>,
        steps: &mut Vec<Step>,
        ends: &mut Vec<End>,
    ) -> Result<(), Stop> {
        let here = Entry {
            destination: at,
            ..entry
        };
        let external = address(entry.is_ipv4, at.0);
        let mut rest = vec![here];
        let forwards = match at.0 == at.1 {
            true => self.network.forwards_at(self.from, external).to_vec(),
            false => Vec::new(),
        };
        for (protocol, port, to) in forwards {
            // For some senders, or for all that there are here.
            let sources: Vec<Interval<u128>> = match &to.sources {
                Some(sources) => {
                    let ranges = sources.iter();
                    let ranges = ranges.filter(|range| range.start().is_ipv4() == entry.is_ipv4);
                    ranges
                        .map(|range| (number(*range.start()), number(*range.end())))
                        .collect()
                }
                None => vec![here.source],
            };
            for source in sources {
                let rule = Entry {
                    protocols: (protocol, protocol),
                    ports: (port, port),
                    source,
                    ..here
                };
                if let Some(entry) = here.shared(&rule) {
                    if to.address.is_ipv4() != entry.is_ipv4 {
                        return Err(Stop::OtherFamily(Arc::clone(&to.name)));
                    }
                    let destination = number(to.address);
                    let destination = (destination, destination);
                    self.lead(entry, destination, (to.vpc, to.peering), steps, ends)?;
                }
                rest = rest.iter().flat_map(|entry| entry.without(&rule)).collect();
                self.budget.take(rest.len())?;
            }
        }
        let to = self.network.static_at(self.from, external).cloned();
        for entry in rest {
            match &to {
                Some(to) if to.nptv6 && at.0 != at.1 => {
                    return Err(Stop::Scattered(Arc::clone(&to.name)));
                }
                Some(to) => match to.to_internal(external) {
                    Some(internal) => {
                        let first = number(internal);
                        let destination = (first, first + (at.1 - at.0));
                        self.lead(
                            entry,
                            destination,
                            (to.internal_vpc, to.peering),
                            steps,
                            ends,
                        )?;
                    }
                    None => ends.push(stays(self.untranslated(entry), Why::NoMapping, 0)),
                },
                None => self.begin(entry, entry.destination, steps),
            }
        }
        Ok(())
    }

    /// Packets that a translation leads elsewhere, in the same order, across a peering or not.
    fn lead(
        &mut self,
        entry: Entry,
        destination: Interval<u128>,
        (vpc, peering): (VpcIndex, Option<PeeringIndex>),
        steps: &mut Vec<Step>,
        ends: &mut Vec<End>,
    ) -> Result<(), Stop> {
        let headers = Headers {
            entry,
            destination,
            is_translated: true,
            vpc_after_nat: vpc,
        };
        let next = |headers| Step {
            headers,
            vpc,
            crossed: peering,
            lookups: 1,
        };
        match peering {
            None => steps.push(next(headers)),
            Some(peering) => {
                let admitted = self.admitted(headers, (peering, self.from), 0, ends)?;
                for headers in admitted {
                    steps.push(next(headers));
                }
            }
        }
        Ok(())
    }

    /// What of a box a side of a peering admits. The rest ends here.
    fn admitted(
        &mut self,
        headers: Headers,
        (peering, from): (PeeringIndex, VpcIndex),
        lookups: usize,
        ends: &mut Vec<End>,
    ) -> Result<Vec<Headers>, Stop> {
        let is_ipv4 = headers.entry.is_ipv4;
        let senders = self.network.senders(peering, from, is_ipv4);
        let mut admitted = Vec::new();
        let cut = |source| Headers {
            entry: Entry {
                source,
                ..headers.entry
            },
            ..headers
        };
        for (source, admits) in parts(headers.entry.source, &senders) {
            self.budget.take(1)?;
            match admits {
                Some(true) => admitted.push(cut(source)),
                _ => ends.push(stays(cut(source), Why::NotAdmitted, lookups)),
            }
        }
        Ok(admitted)
    }

    /// The route table of a VPC.
    fn route(
        &mut self,
        step: &Step,
        steps: &mut Vec<Step>,
        ends: &mut Vec<End>,
    ) -> Result<(), Stop> {
        if let Some(source) = self.network.fed_by(step.vpc) {
            return Err(Stop::Learned(source.clone()));
        }
        let routes = self.network.routes(step.vpc, step.headers.entry.is_ipv4);
        for (destination, route) in parts(step.headers.destination, &routes) {
            self.budget.take(1)?;
            let mut headers = step.headers;
            headers.destination = destination;
            // A part of what is translated is the part in the same place of what came.
            let before = destination.0 - step.headers.destination.0;
            let first = step.headers.entry.destination.0 + before;
            headers.entry.destination = (first, first + (destination.1 - destination.0));
            let lookups = step.lookups;
            let stays = |why| stays(headers, why, lookups);
            let next = match route.as_deref() {
                Some(Route::Vpc(vpc)) => (*vpc, None),
                Some(Route::Peering { peering, vpc }) => (*vpc, Some(*peering)),
                Some(Route::Forward(hops)) => {
                    let hops: Vec<_> = hops.iter().map(|hop| hop.interface()).collect();
                    self.leave(headers, step.crossed, lookups, &hops, ends)?;
                    continue;
                }
                Some(Route::Local) => {
                    ends.push(stays(Why::Local));
                    continue;
                }
                Some(Route::NatExternal) => {
                    ends.push(stays(Why::NoMapping));
                    continue;
                }
                None => {
                    ends.push(stays(Why::NoRoute));
                    continue;
                }
                Some(_) => {
                    ends.push(stays(Why::Dropped));
                    continue;
                }
            };
            let (vpc, peering) = next;
            let admitted = match peering {
                Some(_) if step.crossed.is_some() => {
                    ends.push(stays(Why::Transit));
                    continue;
                }
                Some(peering) => self.admitted(headers, (peering, step.vpc), lookups, ends)?,
                None => vec![headers],
            };
            for headers in admitted {
                if step.lookups == MOST_LOOKUPS {
                    ends.push(stays(Why::TooManyLookups));
                    continue;
                }
                steps.push(Step {
                    headers,
                    vpc,
                    crossed: step.crossed.or(peering),
                    lookups: step.lookups + 1,
                });
            }
        }
        Ok(())
    }
}

/// A box that does not get there.
pub(super) fn stays(headers: Headers, why: Why, lookups: usize) -> End {
    End {
        entrance: 0,
        headers,
        verdict: Verdict::Stays,
        why,
        lookups,
        words: Vec::new(),
    }
}

/// An interval cut along intervals, with what is said of each part; nothing where none of them is.
fn parts<V: Clone>(
    whole: (u128, u128),
    intervals: &[((u128, u128), V)],
) -> Vec<((u128, u128), Option<V>)> {
    let begin = intervals.partition_point(|((_, last), _)| *last < whole.0);
    let mut parts = Vec::new();
    let mut next = Some(whole.0);
    for (interval, value) in &intervals[begin..] {
        let (Some(at), Some(both)) = (next, shared(whole, *interval)) else {
            break;
        };
        if at < both.0 {
            parts.push(((at, both.0 - 1), None));
        }
        parts.push((both, Some(value.clone())));
        next = both.1.checked_add(1).filter(|next| *next <= whole.1);
    }
    if let Some(at) = next {
        parts.push(((at, whole.1), None));
    }
    parts
}

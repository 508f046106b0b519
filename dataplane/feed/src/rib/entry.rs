//! One prefix of a VPC: who offers a route for it, and whose is in the tables.

use std::hash::Hash;
use std::net::{Ipv4Addr, Ipv6Addr};

use hashbrown::HashMap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rewire_tables::{Route, TableOperation, VpcIndex};

use crate::sets::{Connected, Sets};
use crate::source::Source;

/// A prefix as a key: small, and quick to hash.
pub(crate) trait Key: Copy + Eq + Hash {
    /// The prefix.
    fn net(self) -> IpNet;
}

/// An IPv4 prefix: its address above its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key4(u64);

impl From<Ipv4Net> for Key4 {
    fn from(net: Ipv4Net) -> Self {
        Key4(u64::from(net.network().to_bits()) << 8 | u64::from(net.prefix_len()))
    }
}

impl Key for Key4 {
    fn net(self) -> IpNet {
        let address = Ipv4Addr::from_bits((self.0 >> 8) as u32);
        IpNet::V4(Ipv4Net::new_assert(address, self.0 as u8))
    }
}

/// An IPv6 prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key6([u64; 2], u8);

impl From<Ipv6Net> for Key6 {
    fn from(net: Ipv6Net) -> Self {
        let bits = net.network().to_bits();
        Key6([(bits >> 64) as u64, bits as u64], net.prefix_len())
    }
}

impl Key for Key6 {
    fn net(self) -> IpNet {
        let bits = u128::from(self.0[0]) << 64 | u128::from(self.0[1]);
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), self.1))
    }
}

/// A learned route of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Where it leads: a number of [`Sets`].
    pub(crate) set: u32,
    /// The session that said it.
    pub(crate) session: u32,
    /// When it was said, in seconds of the manager's clock.
    pub(crate) since: u32,
    pub(crate) source: u16,
    pub(crate) protocol: u8,
}

/// The learned routes of a prefix, each source's at most one. Nearly always there is one.
#[derive(Clone, Debug, Default)]
pub(crate) enum Learned {
    #[default]
    None,
    One(Candidate),
    Several(Vec<Candidate>),
}

impl Learned {
    pub(crate) fn as_slice(&self) -> &[Candidate] {
        match self {
            Learned::None => &[],
            Learned::One(one) => std::slice::from_ref(one),
            Learned::Several(several) => several,
        }
    }

    /// Puts a source's candidate; gives back the one that it replaces.
    pub(crate) fn put(&mut self, candidate: Candidate) -> Option<Candidate> {
        match self {
            Learned::None => *self = Learned::One(candidate),
            Learned::One(one) if one.source == candidate.source => {
                return Some(std::mem::replace(one, candidate));
            }
            Learned::One(one) => *self = Learned::Several(vec![*one, candidate]),
            Learned::Several(several) => {
                let same = several.iter_mut().find(|c| c.source == candidate.source);
                match same {
                    Some(same) => return Some(std::mem::replace(same, candidate)),
                    None => several.push(candidate),
                }
            }
        }
        None
    }

    /// Takes those out that `goes` says.
    pub(crate) fn take(&mut self, mut goes: impl FnMut(&Candidate) -> bool) {
        match self {
            Learned::None => {}
            Learned::One(one) => {
                if goes(one) {
                    *self = Learned::None;
                }
            }
            Learned::Several(several) => {
                several.retain(|candidate| !goes(candidate));
                match several.as_slice() {
                    [] => *self = Learned::None,
                    [one] => *self = Learned::One(*one),
                    _ => {}
                }
            }
        }
    }
}

/// What the tables hold for a prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Installed {
    #[default]
    Nothing,
    Compiled,
    /// What a set came to when it had this stamp.
    Learned {
        stamp: u64,
    },
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// The configuration's route: an address, a subnet, a static route.
    pub(crate) compiled: Option<Route>,
    pub(crate) learned: Learned,
    pub(crate) installed: Installed,
}

/// The entries of one family.
pub(crate) type Entries<K> = HashMap<K, Entry>;

/// Whose route wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Winner {
    Nothing,
    Compiled,
    /// By its position among the learned ones.
    Learned(usize),
}

/// What one needs to know to say who wins in a VPC.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) sets: &'a Sets,
    pub(crate) sources: &'a [Option<Source>],
    pub(crate) connected: &'a Connected,
    pub(crate) distances: &'a HashMap<IpNet, u8>,
    /// The VPC in the tables; none while it is not there.
    pub(crate) vpc: Option<VpcIndex>,
}

impl Rules<'_> {
    /// The distance of a compiled route: the gateway's own addresses and links, and what peerings say, come before anything
    /// learned.
    pub(crate) fn compiled_distance(&self, prefix: IpNet, route: &Route) -> u8 {
        match route {
            Route::Local | Route::SubnetBroadcast | Route::NatExternal => 0,
            Route::Peering { .. } | Route::NotExposed => 0,
            _ if self.connected.contains_key(&prefix) => 0,
            _ => self.distances.get(&prefix).copied().unwrap_or(1),
        }
    }

    /// The distance of a learned route.
    pub(crate) fn learned_distance(&self, candidate: &Candidate) -> u8 {
        self.source(candidate)
            .map_or(u8::MAX, |source| source.distance(candidate.protocol))
    }

    fn source(&self, candidate: &Candidate) -> Option<&Source> {
        self.sources.get(usize::from(candidate.source))?.as_ref()
    }

    /// The lowest distance wins; at the same distance, the configuration before what is learned, and among sources the one whose
    /// name comes first. A route that leads nowhere now does not take part.
    pub(crate) fn winner(&self, prefix: IpNet, entry: &Entry) -> Winner {
        let learned = entry.learned.as_slice().iter().enumerate();
        let usable = learned.filter(|(_, candidate)| {
            let set = self.sets.get(candidate.set);
            set.is_some_and(|set| set.route.is_some())
        });
        let name = |candidate| self.source(candidate).map(|source| &source.config.name);
        let best = usable
            .map(|(position, candidate)| (self.learned_distance(candidate), position, candidate))
            .min_by(|(distance, _, a), (other, _, b)| {
                distance.cmp(other).then_with(|| name(a).cmp(&name(b)))
            });
        match (&entry.compiled, best) {
            (None, None) => Winner::Nothing,
            (Some(_), None) => Winner::Compiled,
            (Some(route), Some((distance, ..)))
                if self.compiled_distance(prefix, route) <= distance =>
            {
                Winner::Compiled
            }
            (_, Some((_, position, _))) => Winner::Learned(position),
        }
    }

    /// Brings the tables to what wins. `changed` tells that the compiled route is another one than before.
    pub(crate) fn sync(
        &self,
        prefix: IpNet,
        entry: &mut Entry,
        changed: bool,
        out: &mut Vec<TableOperation>,
    ) {
        let Some(vpc) = self.vpc else {
            entry.installed = Installed::Nothing;
            return;
        };
        let (now, route) = match self.winner(prefix, entry) {
            Winner::Nothing => (Installed::Nothing, None),
            Winner::Compiled => (Installed::Compiled, entry.compiled.as_ref()),
            Winner::Learned(position) => {
                let candidate = &entry.learned.as_slice()[position];
                let set = self.sets.get(candidate.set);
                let stamp = set.map_or(0, |set| set.stamp);
                (
                    Installed::Learned { stamp },
                    set.and_then(|set| set.route.as_ref()),
                )
            }
        };
        if now == entry.installed && !(changed && now == Installed::Compiled) {
            return;
        }
        entry.installed = now;
        out.push(match route.cloned() {
            Some(route) => TableOperation::SetRoute { vpc, prefix, route },
            None => TableOperation::RemoveRoute { vpc, prefix },
        });
    }

    /// Whether an entry has nothing more to say.
    pub(crate) fn is_over(entry: &Entry) -> bool {
        entry.compiled.is_none() && matches!(entry.learned, Learned::None)
    }
}

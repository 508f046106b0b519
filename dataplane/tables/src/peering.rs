//! Peerings: who may send from one VPC into another, and as whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::acl::{AclFamily, AclKey};
use crate::index::{AclIndex, PeeringIndex, VpcIndex};
use crate::lpm::Lpm;
use crate::nat::{Masquerade, MasqueradeRules};

/// A packet's way out of one VPC into another by a peering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Crossing {
    /// The peering.
    pub peering: PeeringIndex,
    /// The VPC that the packet leaves.
    pub from: VpcIndex,
    /// The VPC that it enters.
    pub to: VpcIndex,
}

/// One peering, as the tables hold it. A route or a translation leads a packet across; whether it may go is asked here.
#[derive(Clone, Debug, Default)]
pub struct Peering {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) acl: Option<AclIndex>,
    /// By the VPC that packets leave: two, when all is said.
    pub(crate) sides: Vec<(VpcIndex, Side)>,
}

/// What one side of a peering says of its senders.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    /// Whether the senders of a prefix may cross.
    pub(crate) senders4: Lpm<Ipv4Addr, bool>,
    pub(crate) senders6: Lpm<Ipv6Addr, bool>,
    /// Senders that share addresses on the other side.
    pub(crate) masquerades: MasqueradeRules,
}

impl Peering {
    /// The peering's name; empty where no peering has this index.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The name, shared: none where no peering has this index.
    pub fn shared_name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// The ACL that is asked about packets between the two VPCs, either way.
    pub fn acl(&self) -> Option<AclIndex> {
        self.acl
    }

    /// Whether `source` of VPC `from` may cross to the other side. Cost: a look-up.
    pub fn admits(&self, from: VpcIndex, source: IpAddr) -> bool {
        let Some(side) = self.side(from) else {
            return false;
        };
        let admitted = match source {
            IpAddr::V4(source) => side.senders4.lookup(source),
            IpAddr::V6(source) => side.senders6.lookup(source),
        };
        admitted == Some(&true)
    }

    /// The masquerade rule of a packet that crosses from VPC `from`. Cost: a look-up.
    pub fn masquerade<A: AclFamily>(&self, from: VpcIndex, key: &AclKey<A>) -> Option<&Masquerade> {
        self.side(from)?.masquerades.find(key)
    }

    /// The masquerade rules of its senders, each with the VPC that sees them; one may come several times. Cost: all of them.
    pub fn masquerades(&self) -> impl Iterator<Item = (VpcIndex, &Arc<Masquerade>)> {
        self.sides.iter().flat_map(|(from, side)| {
            let other = self.sides.iter().map(|(vpc, _)| *vpc);
            let seen_by = other.clone().find(|vpc| vpc != from).unwrap_or(*from);
            side.masquerades.all().map(move |rule| (seen_by, rule))
        })
    }

    /// Whether nothing was ever said of it.
    pub(crate) fn is_unused(&self) -> bool {
        self.name.is_none() && self.sides.is_empty()
    }

    fn side(&self, from: VpcIndex) -> Option<&Side> {
        let side = self.sides.iter().find(|(vpc, _)| *vpc == from)?;
        Some(&side.1)
    }

    /// The side of a VPC, made when it is not there.
    pub(crate) fn side_mut(&mut self, vpc: VpcIndex) -> &mut Side {
        let at = match self.sides.iter().position(|(of, _)| *of == vpc) {
            Some(at) => at,
            None => {
                self.sides.push((vpc, Side::default()));
                self.sides.len() - 1
            }
        };
        &mut self.sides[at].1
    }

    /// Forgets the side of a VPC where nothing is said of it any more.
    pub(crate) fn forget_if_empty(&mut self, vpc: VpcIndex) {
        let is_empty = |side: &Side| {
            side.senders4.is_empty() && side.senders6.is_empty() && side.masquerades.is_empty()
        };
        self.sides
            .retain(|(of, side)| *of != vpc || !is_empty(side));
    }
}

impl Side {
    pub(crate) fn set_sender(&mut self, prefix: IpNet, admitted: bool) {
        let length = prefix.prefix_len();
        match prefix.network() {
            IpAddr::V4(network) => self.senders4.insert(network, length, &admitted),
            IpAddr::V6(network) => self.senders6.insert(network, length, &admitted),
        };
    }

    pub(crate) fn remove_sender(&mut self, prefix: IpNet) {
        let length = prefix.prefix_len();
        match prefix.network() {
            IpAddr::V4(network) => self.senders4.remove(network, length),
            IpAddr::V6(network) => self.senders6.remove(network, length),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::TableOperation;
    use crate::tables::Tables;

    #[test]
    fn senders_are_admitted_by_the_longest_prefix_on_their_own_side() {
        let mut tables = Tables::default();
        let (peering, blue, red) = (PeeringIndex(3), VpcIndex(1), VpcIndex(2));
        let set = |vpc, prefix: &str, admitted| TableOperation::SetSender {
            peering,
            vpc,
            prefix: prefix.parse().unwrap(),
            admitted,
        };
        let operations = [
            TableOperation::SetPeering {
                peering,
                name: "p".into(),
                acl: None,
            },
            set(blue, "10.0.0.0/8", true),
            set(blue, "10.1.0.0/16", false),
            set(blue, "10.1.2.0/24", true),
            set(red, "::/0", true),
        ];
        operations.iter().for_each(|o| tables.apply(o));
        let admits =
            |vpc, source: &str| tables.peering(peering).admits(vpc, source.parse().unwrap());
        assert!(admits(blue, "10.0.0.1") && admits(blue, "10.1.2.1"));
        assert!(!admits(blue, "10.1.0.1") && !admits(blue, "11.0.0.1"));
        assert!(!admits(red, "10.0.0.1") && admits(red, "2001:db8::1"));
        assert!(
            !tables
                .peering(PeeringIndex(0))
                .admits(blue, IpAddr::V4(Ipv4Addr::LOCALHOST))
        );
        tables.apply(&TableOperation::RemoveSender {
            peering,
            vpc: red,
            prefix: "::/0".parse().unwrap(),
        });
        assert_eq!(tables.peering(peering).sides.len(), 1);
        tables.apply(&TableOperation::RemovePeering { peering });
        assert_eq!(tables.canonical_lines(), [""; 0]);
    }
}

//! Following a packet from one VPC's route table into another's, until a route decides.

use crate::address::Address;
use crate::index::VpcIndex;
use crate::peering::Crossing;
use crate::route::Route;
use crate::tables::Tables;

/// The most route tables that one packet is looked up in. A configuration in which a packet would be looked up without end
/// is refused when it is checked; this bounds what any tables can cost.
pub const MOST_LOOKUPS: usize = 32;

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traveller<A> {
    /// Where the packet goes, behind ingress NAT.
    pub destination: A,
    /// Who sends it, ahead of NAT: a peering admits it or not. None for what the gateway sends itself, and for packets of
    /// a connection that was admitted: these may cross wherever routes lead.
    pub source: Option<A>,
    /// The peering that ingress NAT has led it across. A packet crosses one at most.
    pub crossing: Option<Crossing>,
}

/// Where a packet gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way<'a> {
    /// The VPC whose table decides.
    pub vpc: VpcIndex,
    /// The route that decides, which leads into no further table; none where there is no route.
    pub route: Option<&'a Route>,
    /// The peering that the packet crosses on its way, if it does.
    pub crossing: Option<Crossing>,
}

/// Why a packet gets nowhere between the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It was looked up in [`MOST_LOOKUPS`] tables.
    TooManyLookups,
    /// A peering would have to be crossed that does not admit its sender.
    NotAdmitted,
    /// It came by one peering, and would go on by another.
    Transit,
    /// It is for an address that the translation of its prefix has none for (RFC 6296 section 3.3).
    Unmapped,
}

impl Tables {
    /// Looks a destination up in the table of `vpc`, and in all tables that routes lead into. Cost: a look-up a table, at
    /// most [`MOST_LOOKUPS`], and one for the sender where a peering is crossed.
    pub fn way<A: Address>(
        &self,
        vpc: VpcIndex,
        traveller: &Traveller<A>,
    ) -> Result<Way<'_>, Stop> {
        let route = self.vpc(vpc).route(traveller.destination);
        self.follow(vpc, route, traveller)
    }

    /// Follows a route that was found in the table of `vpc` by one look-up, as of a batch, to the end of the way. Cost:
    /// nothing more where it leads into no other table.
    pub fn follow<'a, A: Address>(
        &'a self,
        mut vpc: VpcIndex,
        mut route: Option<&'a Route>,
        traveller: &Traveller<A>,
    ) -> Result<Way<'a>, Stop> {
        let mut crossing = traveller.crossing;
        let mut lookups = 1;
        loop {
            let next = match route {
                Some(Route::Vpc(next)) => *next,
                Some(Route::Peering { peering, vpc: to }) => {
                    if let Some(source) = traveller.source {
                        if crossing.is_some() {
                            return Err(Stop::Transit);
                        }
                        if !self.peering(*peering).admits(vpc, source.into()) {
                            return Err(Stop::NotAdmitted);
                        }
                    }
                    crossing = Some(Crossing {
                        peering: *peering,
                        from: vpc,
                        to: *to,
                    });
                    *to
                }
                _ => {
                    return Ok(Way {
                        vpc,
                        route,
                        crossing,
                    });
                }
            };
            if lookups == MOST_LOOKUPS {
                return Err(Stop::TooManyLookups);
            }
            lookups += 1;
            vpc = next;
            route = self.vpc(vpc).route(traveller.destination);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::index::PeeringIndex;
    use crate::operation::TableOperation;

    const TRAVELLER: Traveller<Ipv4Addr> = Traveller {
        destination: Ipv4Addr::new(10, 1, 2, 3),
        source: Some(Ipv4Addr::new(10, 9, 0, 1)),
        crossing: None,
    };

    fn set(tables: &mut Tables, vpc: u16, route: Route) {
        tables.apply(&TableOperation::SetRoute {
            vpc: VpcIndex(vpc),
            prefix: "10.0.0.0/8".parse().unwrap(),
            route,
        });
    }

    /// VPCs in a row, each of which leads into the next; the last one's route is `last`.
    fn chain(length: u16, last: Route) -> Tables {
        let mut tables = Tables::default();
        for vpc in 0..length - 1 {
            set(&mut tables, vpc, Route::Vpc(VpcIndex(vpc + 1)));
        }
        set(&mut tables, length - 1, last);
        tables
    }

    fn admit(tables: &mut Tables, peering: u16, vpc: u16) {
        tables.apply(&TableOperation::SetSender {
            peering: PeeringIndex(peering),
            vpc: VpcIndex(vpc),
            prefix: "10.9.0.0/16".parse().unwrap(),
            admitted: true,
        });
    }

    fn across(peering: u16, vpc: u16) -> Route {
        Route::Peering {
            peering: PeeringIndex(peering),
            vpc: VpcIndex(vpc),
        }
    }

    #[test]
    fn a_way_leads_through_as_many_tables_as_are_allowed() {
        let most = MOST_LOOKUPS as u16;
        for length in [1, 2, most] {
            let tables = chain(length, Route::Blackhole);
            let expected = Way {
                vpc: VpcIndex(length - 1),
                route: Some(&Route::Blackhole),
                crossing: None,
            };
            assert_eq!(tables.way(VpcIndex(0), &TRAVELLER), Ok(expected));
        }
        let tables = chain(most + 1, Route::Blackhole);
        let too_many = Err(Stop::TooManyLookups);
        assert_eq!(tables.way(VpcIndex(0), &TRAVELLER), too_many);
    }

    #[test]
    fn a_way_in_circles_ends() {
        let tables = chain(3, Route::Vpc(VpcIndex(0)));
        let too_many = Err(Stop::TooManyLookups);
        assert_eq!(tables.way(VpcIndex(1), &TRAVELLER), too_many);
    }

    #[test]
    fn a_way_ends_where_the_next_table_has_no_route() {
        let tables = chain(2, Route::Vpc(VpcIndex(7)));
        let way = tables.way(VpcIndex(0), &TRAVELLER).unwrap();
        assert_eq!((way.vpc, way.route), (VpcIndex(7), None));
    }

    #[test]
    fn a_peering_is_crossed_by_those_that_it_admits_and_by_no_second_one() {
        let mut tables = Tables::default();
        set(&mut tables, 0, across(0, 1));
        set(&mut tables, 1, Route::Blackhole);
        assert_eq!(tables.way(VpcIndex(0), &TRAVELLER), Err(Stop::NotAdmitted));
        admit(&mut tables, 0, 0);
        let crossing = Some(Crossing {
            peering: PeeringIndex(0),
            from: VpcIndex(0),
            to: VpcIndex(1),
        });
        let way = tables.way(VpcIndex(0), &TRAVELLER).unwrap();
        assert_eq!((way.vpc, way.crossing), (VpcIndex(1), crossing));
        // What NAT has led across already, or goes on by another peering.
        let crossed = Traveller {
            crossing,
            ..TRAVELLER
        };
        assert_eq!(tables.way(VpcIndex(0), &crossed), Err(Stop::Transit));
        set(&mut tables, 1, across(1, 2));
        admit(&mut tables, 1, 1);
        assert_eq!(tables.way(VpcIndex(0), &TRAVELLER), Err(Stop::Transit));
        // Nobody is asked of what belongs to a connection.
        let unasked = Traveller {
            source: None,
            ..TRAVELLER
        };
        assert_eq!(tables.way(VpcIndex(0), &unasked).unwrap().vpc, VpcIndex(2));
    }
}

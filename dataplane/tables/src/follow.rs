//! Following a packet from one VPC's route table into another's, until a route decides.

use crate::address::Address;
use crate::index::VpcIndex;
use crate::route::Route;
use crate::tables::Tables;

/// The most route tables that one packet is looked up in. A configuration in which a packet would be looked up without end
/// is refused when it is checked; this bounds what any tables can cost.
pub const MOST_LOOKUPS: usize = 32;

/// Where a packet gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way<'a> {
    /// The VPC whose table decides.
    pub vpc: VpcIndex,
    /// The route that decides, which leads into no further table; none where there is no route.
    pub route: Option<&'a Route>,
}

/// Why a packet gets nowhere between the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It was looked up in [`MOST_LOOKUPS`] tables.
    TooManyLookups,
}

impl Tables {
    /// Looks a destination up in the table of `vpc`, and in all tables that routes lead into. Cost: a look-up a table, at
    /// most [`MOST_LOOKUPS`].
    pub fn way<A: Address>(&self, vpc: VpcIndex, destination: A) -> Result<Way<'_>, Stop> {
        let route = self.vpc(vpc).route(destination);
        self.follow(Way { vpc, route }, destination)
    }

    /// Follows a way that was found by one look-up, as of a batch, to its end. Cost: nothing more where its route
    /// leads into no other table.
    pub fn follow<'a, A: Address>(
        &'a self,
        mut way: Way<'a>,
        destination: A,
    ) -> Result<Way<'a>, Stop> {
        for _ in 1..MOST_LOOKUPS {
            let Some(Route::Vpc(vpc)) = way.route else {
                return Ok(way);
            };
            way.vpc = *vpc;
            way.route = self.vpc(way.vpc).route(destination);
        }
        match way.route {
            Some(Route::Vpc(_)) => Err(Stop::TooManyLookups),
            _ => Ok(way),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::operation::TableOperation;

    /// VPCs in a row, each of which leads into the next; the last one's route is `last`.
    fn chain(length: u16, last: Route) -> Tables {
        let mut tables = Tables::default();
        for vpc in 0..length {
            let route = match vpc + 1 == length {
                true => last.clone(),
                false => Route::Vpc(VpcIndex(vpc + 1)),
            };
            tables.apply(&TableOperation::SetRoute {
                vpc: VpcIndex(vpc),
                prefix: "10.0.0.0/8".parse().unwrap(),
                route,
            });
        }
        tables
    }

    #[test]
    fn a_way_leads_through_as_many_tables_as_are_allowed() {
        let destination = Ipv4Addr::new(10, 1, 2, 3);
        let most = MOST_LOOKUPS as u16;
        for length in [1, 2, most] {
            let tables = chain(length, Route::Blackhole);
            let expected = Way {
                vpc: VpcIndex(length - 1),
                route: Some(&Route::Blackhole),
            };
            assert_eq!(tables.way(VpcIndex(0), destination), Ok(expected));
        }
        let tables = chain(most + 1, Route::Blackhole);
        let too_many = Err(Stop::TooManyLookups);
        assert_eq!(tables.way(VpcIndex(0), destination), too_many);
    }

    #[test]
    fn a_way_in_circles_ends() {
        let tables = chain(3, Route::Vpc(VpcIndex(0)));
        let destination = Ipv4Addr::new(10, 1, 2, 3);
        let too_many = Err(Stop::TooManyLookups);
        assert_eq!(tables.way(VpcIndex(1), destination), too_many);
    }

    #[test]
    fn a_way_ends_where_the_next_table_has_no_route() {
        let tables = chain(2, Route::Vpc(VpcIndex(7)));
        let way = tables.way(VpcIndex(0), Ipv4Addr::new(10, 1, 2, 3));
        let (vpc, route) = (VpcIndex(7), None);
        assert_eq!(way, Ok(Way { vpc, route }));
    }
}

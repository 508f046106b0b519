//! Learned routes in a running gateway: they outlive every commit (law 6), and go with their source.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rewire_dataplane::port::memory::MemoryDriver;
use rewire_dataplane::{Change, Gateway, GatewayConfig, RouteInlet};
use rewire_feed::{
    Batch, Deliver, Destination, Gateway as Router, LearnedRoute, Owner, RouteQuery, ShownRoute,
    SourceConfig, Update,
};
use rewire_tables::{
    Interface, InterfaceIndex, NextHop, NextHops, Route, TableOperation, VpcIndex,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// VPC blue with a link, under these indices.
fn blue(index: u16) -> Vec<TableOperation> {
    let (vpc, interface) = (VpcIndex(index), InterfaceIndex(index));
    let link = Interface {
        name: "link".into(),
        vpc,
        mac: Default::default(),
        mtu: 1500,
        addresses: vec!["192.0.2.1/24".parse().unwrap()],
        acl_in: None,
        acl_out: None,
        offload: false,
    };
    let name = "blue".into();
    vec![
        TableOperation::SetVpc { vpc, name },
        TableOperation::SetInterface {
            interface,
            value: Arc::new(link),
        },
        TableOperation::SetRoute {
            vpc,
            prefix: "192.0.2.0/24".parse().unwrap(),
            route: Route::Forward(NextHops::one(NextHop::new(interface, "link", None))),
        },
    ]
}

fn sources() -> Vec<SourceConfig> {
    vec![SourceConfig {
        name: "frr".into(),
        listen: ([127, 0, 0, 1], 2620).into(),
        distance: None,
        most_routes: None,
        stale_time: Duration::from_secs(60),
        tables: [(254, "blue".into())].into(),
    }]
}

struct Lab {
    gateway: Gateway,
    inlet: RouteInlet,
    revision: u64,
}

impl Lab {
    fn new() -> Lab {
        let gateway = Gateway::start(GatewayConfig::default(), MemoryDriver::default()).unwrap();
        let inlet = gateway.route_inlet().expect("the first who asks gets it");
        assert!(gateway.route_inlet().is_none());
        let mut lab = Lab {
            gateway,
            inlet,
            revision: 0,
        };
        lab.commit(blue(0), Some(sources()));
        lab
    }

    fn commit(&mut self, operations: Vec<TableOperation>, sources: Option<Vec<SourceConfig>>) {
        self.revision += 1;
        let change = Change {
            operations,
            sources,
            ..Change::default()
        };
        self.gateway.apply(self.revision, change).unwrap();
    }

    fn say(&mut self, updates: Vec<Update>) {
        let empty = self.inlet.empty(PATIENCE).expect("the manager is there");
        let empty = empty.expect("the manager gives batches back");
        assert!(empty.updates.is_empty());
        let batch = Batch {
            source: "frr".into(),
            session: 1,
            updates,
        };
        self.inlet.deliver(batch).expect("the manager is there");
    }

    /// The learned routes, once all that was said before is known.
    fn learned(&self) -> Vec<ShownRoute> {
        let query = RouteQuery {
            most: 10_000,
            ..RouteQuery::default()
        };
        let shown = self.gateway.route_table().unwrap().routes(query).unwrap();
        let routes = shown.routes.into_iter();
        routes
            .filter(|route| matches!(route.owner, Owner::Learned { .. }))
            .collect()
    }
}

fn route(number: u16) -> Update {
    let [x, y] = number.to_be_bytes();
    Update::SetRoute(LearnedRoute {
        table: 254,
        prefix: format!("10.{x}.{y}.0/24").parse().unwrap(),
        protocol: 186,
        to: Destination::Gateway(Router {
            via: "192.0.2.2".parse().ok(),
            link: 3,
        }),
    })
}

#[test]
fn no_commit_forgets_what_was_learned() {
    let mut lab = Lab::new();
    lab.say(vec![Update::Up, route(1), route(2)]);
    let before = lab.learned();
    assert_eq!(before.len(), 2);
    assert!(before.iter().all(|route| route.selected), "{before:?}");
    // Everything anew, under other indices.
    let mut whole = vec![TableOperation::Clear];
    whole.extend(blue(1));
    lab.commit(whole, None);
    let shown = |routes: Vec<ShownRoute>| {
        let parts = routes.into_iter();
        parts
            .map(|one| (one.vpc, one.prefix, one.selected, one.to))
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(lab.learned()), shown(before.clone()));
    // The link goes: they wait. It comes: so do they.
    let prefix = "192.0.2.0/24".parse().unwrap();
    lab.commit(
        vec![TableOperation::RemoveRoute {
            vpc: VpcIndex(1),
            prefix,
        }],
        None,
    );
    assert!(lab.learned().iter().all(|route| !route.selected));
    lab.commit(blue(1), None);
    assert_eq!(shown(lab.learned()), shown(before));
    // Their source goes.
    lab.commit(Vec::new(), Some(Vec::new()));
    assert_eq!(lab.learned(), []);
    assert!(lab.gateway.shared().route_sources().all().is_empty());
    // What is on its way still is nobody's.
    lab.say(vec![route(3)]);
    assert_eq!(lab.learned(), []);
    lab.commit(Vec::new(), Some(sources()));
    lab.say(vec![route(4)]);
    assert_eq!(lab.learned(), [], "of a session that never began");
    lab.gateway.stop();
}

#[test]
fn batches_go_round_and_all_are_published() {
    let mut lab = Lab::new();
    let generation = lab.gateway.shared().generation();
    lab.say(vec![Update::Up]);
    for first in (0u16..5000).step_by(50) {
        lab.say((first..first + 50).map(route).collect());
    }
    assert_eq!(lab.learned().len(), 5000);
    // Within a millisecond or so the tables have them, too.
    let deadline = Instant::now() + PATIENCE;
    while lab.gateway.shared().generation() == generation {
        assert!(Instant::now() < deadline, "nothing was published");
        std::thread::yield_now();
    }
    // The feed may outlive the gateway: it hears so.
    let Lab {
        gateway, mut inlet, ..
    } = lab;
    gateway.stop();
    while let Ok(Some(_)) = inlet.empty(Duration::ZERO) {}
    assert!(inlet.empty(Duration::ZERO).is_err());
    assert!(inlet.deliver(Batch::default()).is_err());
}

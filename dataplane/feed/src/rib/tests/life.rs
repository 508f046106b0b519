//! Scenes of a daemon's life, each with what a person would look at.

use super::*;

fn world() -> World {
    let mut world = World::new();
    world.step(&Step::Address(0, 0));
    world.step(&Step::Source(0, Some((true, true, None, None))));
    world.step(&Step::Up(0));
    world
}

fn to(world: &World, number: usize) -> Option<Route> {
    let found = world.tables.vpc(VpcIndex(world.index(0))).routes();
    let mut found = found.filter(|(net, _)| *net == prefix(number));
    found.next().map(|(_, route)| route.clone())
}

/// A daemon that is restarted says everything again, under other numbers for its next hops. Until then, and for what it says
/// again, nothing changes; what it does not say again goes when its time is over.
#[test]
fn a_restart_loses_nothing_and_leaves_nothing_behind() {
    let mut world = world();
    world.step(&Step::Object(0, 1, Object::Gateway(0)));
    world.step(&Step::Route(0, 1, 0, 186, To::Object(1)));
    world.step(&Step::Route(0, 1, 1, 186, To::Object(1)));
    world.check();
    let before = to(&world, 0);
    assert!(before.is_some());
    world.step(&Step::Down(0));
    assert_eq!(world.out, [], "the tables hear nothing of it");
    world.step(&Step::Later(STALE - 1));
    world.step(&Step::Up(0));
    world.step(&Step::Object(0, 1, Object::Gateway(5)));
    assert_eq!(world.out, []);
    world.check();
    assert_eq!(to(&world, 0), before, "the old object 1 is another one");
    world.step(&Step::Object(0, 2, Object::Gateway(0)));
    world.step(&Step::Route(0, 1, 0, 186, To::Object(2)));
    world.check();
    assert_eq!(to(&world, 0), before);
    // The time begins anew with the session.
    world.step(&Step::Later(STALE - 1));
    world.check();
    assert!(to(&world, 1).is_some());
    world.step(&Step::Later(1));
    world.check();
    assert_eq!((to(&world, 0), to(&world, 1)), (before, None));
    assert_eq!(world.rib.next_expiry(), None);
}

/// A million routes over one next hop are turned by one message.
#[test]
fn a_next_hop_object_that_changes_turns_its_routes() {
    let mut world = world();
    world.step(&Step::Address(0, 1));
    world.step(&Step::Object(0, 1, Object::Gateway(0)));
    world.step(&Step::Object(0, 2, Object::Group(1, 3)));
    world.step(&Step::Route(0, 1, 0, 186, To::Object(2)));
    world.check();
    let before = to(&world, 0);
    world.step(&Step::Object(0, 3, Object::Gateway(1)));
    world.check();
    assert_ne!(to(&world, 0), before);
    world.step(&Step::RemoveObject(0, 3));
    world.check();
    assert_eq!(to(&world, 0), before);
}

#[test]
fn what_waits_for_a_link_comes_with_it() {
    let mut world = world();
    world.step(&Step::Route(0, 1, 0, 186, To::Gateway(1)));
    world.check();
    assert_eq!(to(&world, 0), None);
    let query = RouteQuery {
        most: 10,
        ..RouteQuery::default()
    };
    let shown = world.rib.routes(&query, Duration::ZERO);
    let held = shown
        .routes
        .iter()
        .find(|route| route.prefix == prefix(0))
        .unwrap();
    assert!(!held.selected);
    let hops = held.to.as_ref().unwrap();
    assert_eq!((hops.len(), &hops[0].interface), (1, &None));
    world.step(&Step::Address(0, 1));
    world.check();
    assert!(to(&world, 0).is_some());
}

/// What is asked for comes in order, the used one first, and no more than is asked for.
#[test]
fn routes_are_shown_in_order_and_within_bounds() {
    let mut world = world();
    world.step(&Step::Static(0, 0, Some(200), true));
    for number in [1, 0] {
        world.step(&Step::Route(0, 1, number, 188, To::Gateway(0)));
    }
    world.check();
    let show = |query: RouteQuery| {
        let shown = world.rib.routes(&query, Duration::from_secs(7));
        let lines = shown.routes.iter().map(|route| {
            let ShownRoute {
                prefix,
                distance,
                selected,
                age,
                ..
            } = route;
            format!("{prefix} {:?} {distance} {selected} {age:?}", route.owner)
        });
        (shown.prefixes, lines.collect::<Vec<_>>())
    };
    let most = 10;
    let all = show(RouteQuery {
        most,
        ..RouteQuery::default()
    });
    let ospf = r#"Learned { source: "s", protocol: "ospf" } 110 true Some(7s)"#;
    let lines = [
        format!("10.0.0.0/8 {ospf}"),
        "10.0.0.0/8 Static 200 false None".to_owned(),
        format!("10.1.0.0/16 {ospf}"),
        "192.0.2.0/24 Connected 0 true None".to_owned(),
    ];
    assert_eq!(all, (3, lines.to_vec()));
    let two = show(RouteQuery {
        most: 1,
        ..RouteQuery::default()
    });
    assert_eq!(two, (3, lines[..2].to_vec()));
    let within = Some("10.1.0.0/16".parse().unwrap());
    assert_eq!(
        show(RouteQuery {
            most,
            within,
            ..RouteQuery::default()
        }),
        (1, lines[2..3].to_vec())
    );
    let matching = Some("10.1.2.3".parse().unwrap());
    assert_eq!(
        show(RouteQuery {
            most,
            matching,
            ..RouteQuery::default()
        }),
        (2, lines[..3].to_vec())
    );
    let vpc = Some("b".to_owned());
    assert_eq!(
        show(RouteQuery {
            most,
            vpc,
            ..RouteQuery::default()
        }),
        (0, vec![])
    );
}

/// A table that is made of what the tables hold goes on from there.
#[test]
fn it_can_begin_on_tables_that_are_there() {
    let mut world = World::new();
    world.step(&Step::Address(0, 0));
    world.step(&Step::Static(0, 0, Some(200), true));
    world.step(&Step::Static(1, 1, None, true));
    world.check();
    world.rib = Rib::of(&world.tables, Counters::default());
    world.step(&Step::Source(0, Some((true, true, None, None))));
    world.step(&Step::Up(0));
    for number in 0..3 {
        world.step(&Step::Route(0, 1, number, 186, To::Gateway(0)));
        world.check();
    }
    world.step(&Step::Source(0, None));
    world.check();
    assert!(!world.rib.has_sources());
    assert_eq!(to(&world, 0), Some(Route::Blackhole));
}

/// What is told is what there is, not who came first: two gateways that know the same record the same.
#[test]
fn sources_are_told_by_their_names_whoever_came_first() {
    let mut world = World::new();
    let tables = Some((true, true, None, None));
    for source in [1, 0] {
        world.step(&Step::Source(source, tables));
    }
    for source in [0, 1] {
        world.step(&Step::Up(source));
        world.step(&Step::Route(source, 1, 0, 186, To::Blackhole));
    }
    world.check();
    let told = world.rib.retold();
    let names: Vec<&str> = told.iter().map(|told| &*told.source).collect();
    assert_eq!(names, ["s", "s", "t", "t"]);
}

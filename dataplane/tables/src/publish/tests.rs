use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::VpcIndex;
use crate::pending::tests::{contents, operation};

fn vpc(name: &str) -> TableOperation {
    TableOperation::SetVpc {
        vpc: VpcIndex(0),
        name: Arc::from(name),
    }
}

#[test]
fn a_guard_keeps_its_generation_and_the_next_one_sees_the_new() {
    let (mut publisher, readers) = Publisher::new(1);
    publisher.append(vpc("blue"));
    let before = readers[0].enter().unwrap();
    assert_eq!(
        (before.generation(), before.vpc(VpcIndex(0)).name()),
        (1, "")
    );
    assert_eq!(publisher.publish(Duration::from_secs(1)), Ok(2));
    assert_eq!(
        (before.generation(), before.vpc(VpcIndex(0)).name()),
        (1, "")
    );
    drop(before);
    let after = readers[0].enter().unwrap();
    assert_eq!(
        (after.generation(), after.vpc(VpcIndex(0)).name()),
        (2, "blue")
    );
}

#[test]
fn a_stuck_reader_is_reported_and_nothing_is_lost() {
    let (mut publisher, readers) = Publisher::new(1);
    let stuck = readers[0].enter().unwrap();
    publisher.append(vpc("blue"));
    publisher.publish(Duration::ZERO).unwrap();
    publisher.append(vpc("red"));
    let late = publisher.publish(Duration::from_millis(1)).unwrap_err();
    assert_eq!(late.generation, 3);
    assert!(publisher.has_pending());
    assert!(!publisher.catch_up());
    assert_eq!(publisher.waiting(), 0, "what is late was handed over");
    publisher.append(vpc("green"));
    assert_eq!(publisher.waiting(), 1);
    drop(stuck);
    assert_eq!(publisher.publish(Duration::from_secs(1)), Ok(4));
    let guard = readers[0].enter().unwrap();
    assert_eq!(
        (guard.generation(), guard.vpc(VpcIndex(0)).name()),
        (4, "green")
    );
    assert_eq!(guard.policy_generation(), 4);
}

#[test]
fn what_is_learned_is_a_generation_but_no_policy() {
    let (mut publisher, readers) = Publisher::new(1);
    let policy = readers[0].enter().unwrap().policy_generation();
    publisher.append(TableOperation::ForgetNeighbor {
        interface: crate::InterfaceIndex(0),
        address: [192, 0, 2, 1].into(),
    });
    publisher.publish(Duration::from_secs(1)).unwrap();
    let guard = readers[0].enter().unwrap();
    assert_eq!((guard.generation(), guard.policy_generation()), (2, policy));
}

#[test]
fn another_revision_of_the_same_policy_is_no_new_policy() {
    let (mut publisher, readers) = Publisher::new(1);
    publisher.append(vpc("blue"));
    publisher.publish(Duration::ZERO).unwrap();
    publisher.append(TableOperation::SetRevision { revision: 7 });
    assert_eq!(publisher.publish(Duration::ZERO), Ok(3));
    let guard = readers[0].enter().unwrap();
    let generations = (guard.generation(), guard.policy_generation());
    assert_eq!((guard.revision(), generations), (7, (3, 2)));
}

#[test]
fn a_reader_outside_delays_nobody() {
    let (mut publisher, readers) = Publisher::new(2);
    for (generation, name) in (2..).zip(["blue", "red", "green"]) {
        publisher.append(vpc(name));
        assert_eq!(publisher.publish(Duration::ZERO), Ok(generation));
    }
    assert_eq!(readers[1].enter().unwrap().generation(), 4);
}

#[test]
fn catching_up_shows_readers_nothing_new_and_frees_what_was_removed() {
    let (mut publisher, readers) = Publisher::new(1);
    let name = Arc::<str>::from("blue");
    let held = || Arc::strong_count(&name) - 1;
    publisher.append(TableOperation::SetVpc {
        vpc: VpcIndex(0),
        name: Arc::clone(&name),
    });
    let seen = readers[0].enter().unwrap();
    publisher.publish(Duration::ZERO).unwrap();
    assert!(!publisher.catch_up(), "a reader is inside");
    assert_eq!(held(), 2, "a half and the operation");
    drop(seen);
    assert!(publisher.catch_up());
    assert_eq!(held(), 2, "both halves, and no operation");
    let digest = readers[0].enter().unwrap().digest();
    publisher.append(TableOperation::RemoveVpc { vpc: VpcIndex(0) });
    publisher.publish(Duration::ZERO).unwrap();
    assert_eq!(held(), 1, "the other half");
    assert!(publisher.catch_up());
    assert_eq!(held(), 0);
    let after = readers[0].enter().unwrap();
    assert_eq!((after.generation(), publisher.generation()), (3, 3));
    assert_ne!(after.digest(), digest);
}

/// Operations come while a worker sleeps inside: the next publication brings one generation that was late and one
/// more for all that came since.
#[test]
fn whatever_comes_while_a_reader_stays_inside_is_two_generations() {
    let (mut publisher, readers) = Publisher::new(1);
    let stuck = readers[0].enter().unwrap();
    publisher.append(vpc("first"));
    publisher.publish(Duration::ZERO).unwrap();
    for number in 0..200_000 {
        publisher.append(vpc(&number.to_string()));
        if number % 10_000 == 0 {
            publisher.publish(Duration::ZERO).unwrap_err();
        }
    }
    assert_eq!(stuck.vpc(VpcIndex(0)).name(), "");
    drop(stuck);
    assert_eq!(publisher.publish(Duration::ZERO), Ok(4));
    assert_eq!(
        readers[0].enter().unwrap().vpc(VpcIndex(0)).name(),
        "199999"
    );
}

#[test]
fn both_halves_are_equal() {
    let (mut publisher, readers) = Publisher::new(1);
    let mut digests = Vec::new();
    for step in ["blue", "red", "red", "red"] {
        publisher.append(vpc(step));
        publisher.publish(Duration::from_secs(1)).unwrap();
        digests.push(readers[0].enter().unwrap().digest());
    }
    // The last two publications show either half with the same state.
    assert_eq!(digests[2], digests[3]);
    assert_ne!(digests[0], digests[1]);
}

/// All routes, those of VPCs without a name included, in order.
fn routes(tables: &Tables) -> Vec<String> {
    let vpcs = tables.vpcs.iter().enumerate();
    let routes = vpcs.flat_map(|(index, vpc)| {
        vpc.routes()
            .map(move |(prefix, route)| format!("{index} {prefix} {route:?}"))
    });
    let mut routes: Vec<String> = routes.collect();
    routes.sort_unstable();
    routes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whether the other half catches up at once or with the next publication.
    #[test]
    fn both_halves_hold_what_one_would_by_itself(
        batches in prop::collection::vec((prop::collection::vec(operation(), 1..25), any::<bool>()), 1..12),
    ) {
        let (mut publisher, readers) = Publisher::new(1);
        let mut alone = Tables::default();
        let check = |alone: &Tables| {
            let tables = readers[0].enter().unwrap();
            prop_assert_eq!(contents(&tables), contents(alone));
            prop_assert_eq!(routes(&tables), routes(alone));
            prop_assert_eq!(tables.vpcs.len(), alone.vpcs.len());
            Ok(())
        };
        for (batch, catches_up) in batches {
            batch.iter().for_each(|operation| alone.apply(operation));
            publisher.extend(batch);
            publisher.publish(Duration::ZERO).unwrap();
            check(&alone)?;
            if catches_up {
                prop_assert!(publisher.catch_up());
                check(&alone)?;
            }
        }
    }
}

use std::collections::BTreeSet;

use proptest::prelude::*;
use rewire_tables::acl::{AclAction, AclDecision, AclDefault, AclRule, AclScope, MOST_ACLS};

use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The rules of each ACL that is there.
type Acls = BTreeMap<&'static str, BTreeSet<u32>>;

/// ACLs with their rules, whether the tables are made anew for them, and by how much each worker counts then.
fn step() -> impl Strategy<Value = (Acls, bool, [u64; 2])> {
    let rules = prop::collection::btree_set((0u32..4).prop_map(|n| 10 * n), 0..4);
    let acls = prop::collection::btree_map(prop::sample::select(&NAMES[..]), rules, 0..4);
    (acls, prop::bool::weighted(0.2), [0u64..9, 0u64..9])
}

fn rule() -> Arc<AclRule> {
    Arc::new(AclRule {
        decision: AclDecision {
            action: AclAction::Allow,
            scope: AclScope::Flow,
            log: false,
        },
        from: None,
        to: None,
        sources: None,
        destinations: None,
        packets: [].into(),
    })
}

/// What leads from some ACLs to others, with the indices that they have: as the compiler does it.
fn operations(
    before: &Acls,
    after: &Acls,
    anew: bool,
    indices: &mut BTreeMap<&'static str, AclIndex>,
) -> Vec<TableOperation> {
    let nothing = Acls::new();
    let (mut operations, before) = match anew {
        true => {
            indices.clear();
            (vec![TableOperation::Clear], &nothing)
        }
        false => (Vec::new(), before),
    };
    for (name, rules) in before {
        let acl = indices[name];
        let kept = after.get(name);
        let gone = rules
            .iter()
            .filter(|&rule| kept.is_some_and(|k| !k.contains(rule)));
        operations.extend(gone.map(|&sequence| TableOperation::RemoveAclRule { acl, sequence }));
    }
    let mut last = Vec::new();
    let gone: Vec<&str> = before.keys().copied().collect();
    for name in gone.into_iter().filter(|name| !after.contains_key(name)) {
        last.push(TableOperation::RemoveAcl { acl: indices[name] });
    }
    for (name, rules) in after {
        let free = (0u16..).map(AclIndex);
        let free = free
            .into_iter()
            .find(|index| !indices.values().any(|taken| taken == index));
        let acl = *indices.entry(name).or_insert_with(|| free.unwrap());
        if !before.contains_key(name) {
            operations.push(TableOperation::SetAcl {
                acl,
                name: (*name).into(),
                default: AclDefault::Deny,
                counter: RuleCounter::NONE,
            });
        }
        // Also those that are there already: they are changed.
        operations.extend(rules.iter().map(|&sequence| TableOperation::SetAclRule {
            acl,
            sequence,
            rule: rule(),
            counter: RuleCounter::NONE,
        }));
    }
    indices.retain(|name, _| after.contains_key(name));
    operations.extend(last);
    operations
}

proptest! {
    /// The oracle: a count a name and number.
    #[test]
    fn a_rule_keeps_its_counts_for_as_long_as_it_is_there(steps in prop::collection::vec(step(), 1..12)) {
        let workers: Vec<Arc<WorkerCounters>> = vec![Arc::default(), Arc::default()];
        let mut register = RuleRegister::default();
        let mut indices = BTreeMap::new();
        let mut now = Acls::new();
        let mut expected: BTreeMap<(String, u64), RuleTraffic> = BTreeMap::new();
        // As tables have them.
        let mut counters: BTreeMap<(AclIndex, Option<u32>), RuleCounter> = BTreeMap::new();
        for (acls, anew, counts) in steps {
            let mut operations = operations(&now, &acls, anew, &mut indices);
            register.follow(&mut operations, &workers);
            for operation in &operations {
                match operation {
                    TableOperation::Clear => counters.clear(),
                    TableOperation::SetAcl { acl, counter, .. } => {
                        counters.insert((*acl, None), *counter);
                    }
                    TableOperation::SetAclRule { acl, sequence, counter, .. } => {
                        counters.insert((*acl, Some(*sequence)), *counter);
                    }
                    TableOperation::RemoveAclRule { acl, sequence } => {
                        counters.remove(&(*acl, Some(*sequence)));
                    }
                    TableOperation::RemoveAcl { acl } => counters.retain(|(of, _), _| of != acl),
                    _ => {}
                }
            }
            let places: BTreeSet<u32> = counters.values().map(|counter| counter.0).collect();
            prop_assert_eq!(places.len(), counters.len(), "each has a place of its own");
            now = acls;
            let places = |rules: &BTreeSet<u32>| -> Vec<u64> {
                rules.iter().map(|n| u64::from(*n)).chain([u64::MAX]).collect()
            };
            let there: BTreeSet<(String, u64)> = now
                .iter()
                .flat_map(|(name, rules)| places(rules).into_iter().map(|n| ((*name).to_owned(), n)))
                .collect();
            expected.retain(|key, _| there.contains(key));
            for (name, number) in there {
                let rule = u32::try_from(number).ok();
                let counter = counters[&(indices[name.as_str()], rule)];
                let traffic: &mut RuleTraffic = expected.entry((name, number)).or_default();
                for (worker, count) in workers.iter().zip(counts) {
                    let mut met = [RuleCounter::NONE; MOST_ACLS];
                    met[1] = counter;
                    (0..count).for_each(|_| worker.rules.count(&met, 100));
                    traffic.packets += count;
                    traffic.bytes += 100 * count;
                }
            }
            let counted = register.counted(None, &workers);
            let found = counted.iter().map(|rule| {
                let number = rule.rule.map_or(u64::MAX, u64::from);
                ((rule.acl.to_string(), number), rule.traffic)
            });
            prop_assert_eq!(found.collect::<Vec<_>>(), expected.clone().into_iter().collect::<Vec<_>>());
        }
        let rules = NAMES.len() * 5;
        prop_assert!(register.made as usize <= 2 * rules, "places are used again");
    }
}

#[test]
fn rules_beyond_the_most_are_not_counted() {
    let workers: Vec<Arc<WorkerCounters>> = vec![Arc::default()];
    let mut register = RuleRegister {
        made: MOST_COUNTED_RULES as u32 - 2,
        ..RuleRegister::default()
    };
    let acl = AclIndex(0);
    let mut operations = vec![TableOperation::SetAcl {
        acl,
        name: "a".into(),
        default: AclDefault::Deny,
        counter: RuleCounter::NONE,
    }];
    operations.extend((1..4).map(|sequence| TableOperation::SetAclRule {
        acl,
        sequence,
        rule: rule(),
        counter: RuleCounter::NONE,
    }));
    register.follow(&mut operations, &workers);
    let counted = register.counted(Some("a"), &workers);
    let rules: Vec<_> = counted.iter().map(|rule| rule.rule).collect();
    assert_eq!(rules, [Some(1), None]);
    workers[0].rules.count(&UNCOUNTED, 1);
    let TableOperation::SetAclRule { counter, .. } = operations[3] else {
        panic!("{operations:?}");
    };
    assert_eq!(counter, RuleCounter::NONE);
}

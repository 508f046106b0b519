//! Access control lists: what they derive to, and what a change to one costs.

use rewire_schema::model::{AclRow, AclRuleRow};
use rewire_schema::types::{AclAction, AclDefault, AclScope};
use rewire_schema::{Change, Changeset, Problem, Row};
use rewire_tables::TableOperation;
use serde_json::{Value, json};

use super::{Gateway, configuration, lines};
use crate::{Compiler, Question, warnings, warnings_of_change};

/// One of everything that a rule can say.
fn document() -> Value {
    json!({
        "vpcs": { "blue": {}, "red": {} },
        "interfaces": { "lan": {
            "vpc": "blue", "port": "null:a", "mac": "02:00:00:00:00:01", "addresses": ["10.0.1.1/24"],
            "acl_in": "guard", "acl_out": "open"
        } },
        "address_sets": {
            "offices": { "members": ["192.0.2.0/25", "192.0.2.128-192.0.2.255", "2001:db8:7::/48"] },
            "nobody": {}
        },
        "services": { "web": { "entries": [
            { "protocol": "tcp", "destination_port": "80,443" },
            { "protocol": "udp", "destination_port": 443 }
        ] } },
        "acls": {
            "open": { "default": "allow" },
            "guard": { "rules": {
                "10": { "action": "allow", "source_set": "offices", "service": "web" },
                "20": {
                    "action": "deny", "from": "blue", "to": "red", "log": true, "scope": "packet",
                    "sources": ["192.0.2.0/24", "10.0.0.1-10.0.0.9"], "source_set": "offices",
                    "destinations": ["2001:db8::/32", "10.0.0.0/8"]
                },
                "30": { "action": "reject", "protocol": "tcp_udp", "source_port": 53 },
                "40": { "action": "allow", "protocol": "icmp", "icmp_type": 8 },
                "50": { "action": "allow", "protocol": "icmp", "icmp_type": 3, "icmp_code": 4 },
                "60": { "action": "allow", "source_set": "nobody" },
                "70": { "action": "allow" }
            } }
        }
    })
}

#[test]
fn rules_and_what_they_name() {
    let tables = Gateway::new(document()).tables;
    let lines = tables.canonical_lines();
    let lines = lines
        .iter()
        .filter(|line| line.starts_with("acl") || line.starts_with("interface"));
    insta::assert_snapshot!("acls", lines.cloned().collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_member_of_a_set_reaches_the_rules_that_name_it() {
    let mut gateway = Gateway::new(document());
    let mut to = document();
    to["address_sets"]["offices"]["members"] = json!(["192.0.2.0/24"]);
    let compiled = gateway.goto(to).unwrap();
    let changed: Vec<u32> = compiled.operations.iter().filter_map(sequence).collect();
    assert_eq!(changed, [10, 20]);
    // The first half and the second are one range already.
    let mut same = document();
    same["address_sets"]["offices"]["members"] = json!(["192.0.2.0/24", "192.0.2.7"]);
    let compiled = gateway.goto(same).unwrap();
    assert_eq!(lines(&compiled.operations), "");
}

#[test]
fn an_entry_of_a_service_reaches_the_rules_that_name_it() {
    let mut gateway = Gateway::new(document());
    let mut to = document();
    to["services"]["web"]["entries"] = json!([{ "protocol": "tcp", "destination_port": 8080 }]);
    let compiled = gateway.goto(to).unwrap();
    let changed: Vec<u32> = compiled.operations.iter().filter_map(sequence).collect();
    assert_eq!(changed, [10]);
}

fn sequence(operation: &TableOperation) -> Option<u32> {
    match operation {
        TableOperation::SetAclRule { sequence, .. } => Some(*sequence),
        _ => None,
    }
}

#[test]
fn a_set_is_worked_out_once_for_all_who_name_it() {
    let mut document = json!({
        "address_sets": { "offices": { "members": ["192.0.2.0/24"] } }, "acls": {}
    });
    for number in 0..50 {
        let rules = json!({ "rules": { "10": { "action": "allow", "source_set": "offices" } } });
        document["acls"][format!("acl-{number}")] = rules;
    }
    let mut gateway = Gateway::new(document.clone());
    document["address_sets"]["offices"]["members"] = json!(["192.0.2.0/24", "10.0.0.0/8"]);
    let compiled = gateway.goto(document).unwrap();
    let sets: Vec<_> = compiled
        .operations
        .iter()
        .filter_map(|operation| match operation {
            TableOperation::SetAclRule { rule, .. } => rule.sources.as_ref(),
            _ => None,
        })
        .collect();
    assert_eq!(sets.len(), 50);
    assert!(sets.iter().all(|set| std::sync::Arc::ptr_eq(set, sets[0])));
}

#[test]
fn one_rule_of_ten_thousand_is_one_operation() {
    let mut state = configuration(json!({ "acls": { "guard": {} } }));
    let rule = |sequence, action| {
        Row::from(AclRuleRow {
            action,
            scope: AclScope::Flow,
            ..sample(sequence)
        })
    };
    for number in 0..10_000 {
        state.insert(rule(10 * number, AclAction::Allow));
    }
    let (mut compiler, _) = Compiler::compile(state, 1).unwrap();
    let mut operations = |change: Change| {
        let compiled = compiler.apply(2, &Changeset::from_iter([change])).unwrap();
        lines(&compiled.operations[..])
    };
    let (new, changed) = (rule(15, AclAction::Allow), rule(15, AclAction::Deny));
    let inserted = operations(Change::Insert(new.clone()));
    assert!(inserted.starts_with("SetAclRule { acl: AclIndex(0), sequence: 15,"));
    assert_eq!(inserted.lines().count(), 1);
    let updated = operations(Change::Update {
        before: new,
        after: changed.clone(),
    });
    assert_eq!(updated.lines().count(), 1);
    assert_eq!(
        operations(Change::Delete(changed)),
        "RemoveAclRule { acl: AclIndex(0), sequence: 15 }"
    );
    let default = |default_action| {
        Row::from(AclRow {
            name: "guard".parse().unwrap(),
            description: None,
            default_action,
            marks: Default::default(),
        })
    };
    assert_eq!(
        operations(Change::Update {
            before: default(AclDefault::Deny),
            after: default(AclDefault::Allow),
        }),
        "SetAcl { acl: AclIndex(0), name: \"guard\", default: Allow, counter: RuleCounter(0) }",
        "the rules stay"
    );
}

fn sample(sequence: u32) -> AclRuleRow {
    let document = json!({ "acls": { "guard": { "rules": { "1": { "action": "allow" } } } } });
    let rows = configuration(document).acl_rule;
    let rule = rows.values().next().unwrap().clone();
    AclRuleRow { sequence, ..rule }
}

#[test]
fn an_acl_takes_its_rules_with_it() {
    let mut gateway = Gateway::new(document());
    let mut to = document();
    to["acls"].as_object_mut().unwrap().remove("guard");
    to["interfaces"]["lan"]["acl_in"] = Value::Null;
    let compiled = gateway.goto(to).unwrap();
    let text = lines(&compiled.operations);
    assert!(!text.contains("RemoveAclRule"), "{text}");
    assert!(text.ends_with("RemoveAcl { acl: AclIndex(0) }"), "{text}");
    // A new ACL gets the free index, and none of the rules of the one that had it.
    let mut other = document();
    let guard = other["acls"]
        .as_object_mut()
        .unwrap()
        .remove("guard")
        .unwrap();
    other["acls"]["other"] = json!({ "rules": { "20": guard["rules"]["70"].clone() } });
    other["interfaces"]["lan"]["acl_in"] = json!("other");
    gateway.goto(other).unwrap();
}

#[test]
fn rules_that_no_packet_reaches_are_told_with_those_that_take_their_packets() {
    let mut shadowed = document();
    shadowed["acls"]["guard"]["rules"] = json!({
        "10": { "action": "deny", "sources": ["10.0.0.0/25"], "protocol": "tcp_udp" },
        "20": { "action": "deny", "sources": ["10.0.0.128/25"], "protocol": "tcp" },
        "30": { "action": "allow", "sources": ["10.0.0.0/24"], "service": "web" },
        "40": { "action": "allow", "sources": ["10.0.0.0/24"], "protocol": "tcp", "destination_port": 22 },
        "50": { "action": "allow", "source_set": "nobody" },
        "60": { "action": "allow", "sources": ["10.0.0.7"], "from": "blue", "protocol": "udp" }
    });
    // Rule 30 also takes UDP of the upper half; rule 50 takes nothing anyhow.
    let expected = [
        "acls.guard.rules[40]: no packet reaches it: rules 10 and 20 take all that it matches",
        "acls.guard.rules[60]: no packet reaches it: rule 10 takes all that it matches",
    ];
    let of_rules = |found: Vec<Problem>| -> Vec<String> {
        let lines = found.iter().map(ToString::to_string);
        lines.filter(|line| line.contains("rules")).collect()
    };
    let state = configuration(shadowed.clone());
    assert_eq!(of_rules(warnings(&state)), expected);
    // A change is told about the ACLs that it makes different: by their rules, or by what these name.
    let of_change = |pointer: &str, value: Value| {
        let mut other = shadowed.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        let changeset = Changeset::between(&configuration(other), &state);
        of_rules(warnings_of_change(&state, &changeset).unwrap())
    };
    let rule = json!({ "action": "reject" });
    assert_eq!(of_change("/acls/guard/rules/50", rule), expected);
    let members = json!(["192.0.2.0/25"]);
    assert!(of_change("/address_sets/offices/members", members).is_empty());
    let members = json!(["10.9.0.0/16"]);
    assert_eq!(
        of_change("/address_sets/nobody", json!({ "members": members })),
        expected
    );
    assert!(of_change("/acls/open/default", json!("reject")).is_empty());
}

#[test]
fn an_acl_that_is_too_large_is_not_compared_and_says_so() {
    let mut large = document();
    let rule = |n: u32| json!({ "action": "allow", "destination_port": n, "protocol": "tcp" });
    let rules = (1..=2_001u32).map(|n| (n.to_string(), rule(n)));
    large["acls"]["open"]["rules"] = Value::Object(rules.collect());
    let state = configuration(large.clone());
    let of_open = |found: Vec<Problem>| -> Vec<String> {
        let lines = found.iter().map(ToString::to_string);
        lines.filter(|line| line.starts_with("acls.open")).collect()
    };
    let expected = [
        "acls.open: nobody looked for rules that no packet reaches: ACLs of more than 2000 products of ranges are not compared",
    ];
    assert_eq!(of_open(warnings(&state)), expected);
    large["acls"]["open"]["rules"]["1"] = json!({ "action": "deny" });
    let after = configuration(large);
    let changeset = Changeset::between(&state, &after);
    assert_eq!(
        of_open(warnings_of_change(&after, &changeset).unwrap()),
        expected
    );
}

/// Two VPCs, with a peering that the ACL stands between.
fn peered(acl: &str) -> Value {
    let mut document = document();
    document["peerings"] = json!({ "p": { "acl": acl, "sides": {
        "blue": { "expose": { "x": { "ips": ["10.0.1.0/24"] } } },
        "red": { "expose": { "x": { "ips": ["10.0.2.0/24"] } } }
    } } });
    document
}

#[test]
fn a_peering_has_its_acl_and_costs_one_entry_when_it_gets_another() {
    let mut gateway = Gateway::new(peered("guard"));
    let of_peering = |gateway: &Gateway| {
        let lines = gateway.tables.canonical_lines();
        let mut lines = lines.into_iter().filter(|line| line.starts_with("peering"));
        lines.next()
    };
    assert_eq!(of_peering(&gateway).as_deref(), Some("peering p acl=guard"));
    let found = gateway
        .compiler
        .explain(&Question::Peering("p".parse().unwrap()));
    assert_eq!(found[0].entries, ["peering p acl=guard"]);
    let rows = found[0].rows.iter().map(|row| row.path().to_string());
    assert!(rows.into_iter().any(|path| path == "peerings.p"));

    let compiled = gateway.goto(peered("open")).unwrap();
    assert_eq!(
        compiled.operations.len(),
        2,
        "the revision, and the peering"
    );
    assert_eq!(of_peering(&gateway).as_deref(), Some("peering p acl=open"));
    // What the ACL says is an entry of its own.
    let mut other = peered("open");
    other["acls"]["open"]["default"] = json!("deny_unless_exposed");
    other["interfaces"] = json!({});
    gateway.goto(other.clone()).unwrap();
    let mut member = other.clone();
    member["acls"]["open"]["rules"] =
        json!({ "10": { "action": "deny", "source_set": "offices" } });
    gateway.goto(member.clone()).unwrap();
    member["address_sets"]["offices"]["members"] = json!(["192.0.2.0/24"]);
    let compiled = gateway.goto(member.clone()).unwrap();
    let sets: Vec<_> = compiled.operations.iter().filter_map(sequence).collect();
    assert_eq!(
        sets,
        [10, 20, 10],
        "of guard, which is compiled as well, and of open"
    );

    // The ACL goes, and with it what names it; or the peering is left behind.
    let mut gone = other.clone();
    gone["acls"].as_object_mut().unwrap().remove("open");
    let errors = gateway.goto(gone.clone()).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "peerings.p.acl: there is no ACL \"open\""
    );
    gone["peerings"]["p"].as_object_mut().unwrap().remove("acl");
    gateway.goto(gone).unwrap();
    assert_eq!(of_peering(&gateway).as_deref(), Some("peering p"));
}

#[test]
fn rules_of_an_acl_between_vpcs_that_no_packet_reaches() {
    let mut document = peered("between");
    document["acls"]["between"] = json!({ "default": "deny_unless_exposed", "rules": {
        "10": { "action": "deny", "from": "blue", "protocol": "tcp" },
        "20": { "action": "allow", "from": "blue", "protocol": "tcp", "destination_port": 22 },
        "30": { "action": "allow", "from": "red", "protocol": "tcp", "destination_port": 22 }
    } });
    let found = warnings(&configuration(document));
    let lines = found.iter().map(ToString::to_string);
    let lines: Vec<String> = lines.filter(|line| line.contains("between")).collect();
    assert_eq!(
        lines,
        ["acls.between.rules[20]: no packet reaches it: rule 10 takes all that it matches"]
    );
}

//! `rewire show acls`: what the rules of ACLs have counted, for people and for machines.

use std::collections::{BTreeMap, BTreeSet};

use rewire_configdb::Store;
use rewire_schema::model::Row;
use rewire_schema::state::{Rows, StateError};
use rewire_schema::types::Name;
use rewire_schema::{RowKey, Table, Value};
use serde_json::json;

use crate::answer::Answer;
use crate::columns::{Cell, columns};
use crate::context::Context;
use crate::daemon::rules::{Query, Rule, Rules, VERSION};
use crate::failure::{Code, Failure};
use crate::gateway::{self, no_gateway};
use crate::terminal::clean;

/// Addresses of a rule that are written out; where there are more, their number is.
const MOST_ADDRESSES: usize = 3;

/// What a rule does, and what it matches, by ACL and sequence number.
type Said = BTreeMap<(String, Option<u32>), (String, String)>;

/// Asks the gateway for the rules of the ACL that is named, or of all.
pub(crate) fn show(context: &Context, words: &[String]) -> Result<Answer, Failure> {
    let acl = match words {
        [] => None,
        [acl] if acl.parse::<Name>().is_ok() => Some(acl.clone()),
        _ => {
            let message = "the name of one ACL, or none: show acls [ACL]";
            return Err(Failure::new(Code::WrongArguments, message));
        }
    };
    let query = Query { acl, most: None };
    let answer = gateway::ask(&context.socket(), "acls", &query, VERSION);
    let answer: Option<Rules> = answer.map_err(|why| Failure::new(Code::Failed, why))?;
    let rules = answer.ok_or_else(|| no_gateway(&context.socket()))?;
    if let (Some(acl), []) = (&query.acl, &rules.rules[..]) {
        // Each has a default at least.
        let message = format!("no ACL \"{}\" is in effect", clean(acl));
        return Err(Failure::new(Code::NoSuchName, message));
    }
    if rules.rules.len() < rules.count {
        let (shown, all) = (rules.rules.len(), rules.count);
        context.note(&format!(
            "note: the first {shown} of {all} rules; name an ACL"
        ));
    }
    // Without its store, a gateway still counts.
    let said = context.open().ok();
    let said = said.and_then(|store| said_of(&rules, &store).ok());
    let said = said.unwrap_or_default();
    Ok(context.shown(|_| text(&rules, &said), || to_json(&rules, &said)))
}

/// What rules say in the revision that is live.
fn said_of(rules: &Rules, store: &Store) -> Result<Said, Failure> {
    let reader = store.reader(rules.revision)?;
    let acls: BTreeSet<&str> = rules.rules.iter().map(|rule| rule.acl.as_str()).collect();
    let mut said = Said::new();
    for acl in acls {
        let _ = say(&reader, acl, &mut said);
    }
    Ok(said)
}

fn say(rows: &dyn Rows, acl: &str, said: &mut Said) -> Result<(), StateError> {
    let Ok(name) = acl.parse::<Name>() else {
        return Ok(());
    };
    let key = [Value::Text(acl.to_owned())];
    if let Some(Row::Acl(row)) = rows.find(&RowKey::Acl((name,)))? {
        let action = row.default_action.to_string();
        said.insert((acl.to_owned(), None), (action, String::new()));
    }
    let mut addresses: BTreeMap<(u32, &str), Vec<String>> = BTreeMap::new();
    for table in [Table::AclRuleSource, Table::AclRuleDestination] {
        for row in rows.below(table, &key)? {
            let (sequence, field, own) = match row {
                Row::AclRuleSource(row) => (row.sequence, "sources", row.addresses),
                Row::AclRuleDestination(row) => (row.sequence, "destinations", row.addresses),
                _ => continue,
            };
            let listed = addresses.entry((sequence, field)).or_default();
            listed.push(own.to_string());
        }
    }
    for row in rows.below(Table::AclRule, &key)? {
        let mut words = fields(&row);
        let Row::AclRule(row) = row else { continue };
        for field in ["sources", "destinations"] {
            if let Some(listed) = addresses.get(&(row.sequence, field)) {
                words.push(match listed.len() > MOST_ADDRESSES {
                    true => format!("{} {field}", listed.len()),
                    false => format!("{field} {}", listed.join(" ")),
                });
            }
        }
        let key = (acl.to_owned(), Some(row.sequence));
        said.insert(key, (row.action.to_string(), words.join(", ")));
    }
    Ok(())
}

/// The fields of a rule that say something, but for what it does and what it is for.
fn fields(row: &Row) -> Vec<String> {
    let columns = row.table().definition().columns.iter();
    let said = columns.zip(row.values()).filter(|(column, value)| {
        let is_said = !column.key && !column.is_mark() && column.absent().as_ref() != Some(value);
        is_said && !["action", "description"].contains(&column.field)
    });
    let words = said.filter_map(|(column, value)| match value {
        Value::Text(text) => Some(format!("{} {text}", column.field)),
        Value::Integer(number) if column.field == "log" => (number != 0).then(|| "log".to_owned()),
        Value::Integer(number) => Some(format!("{} {number}", column.field)),
        Value::Null => None,
    });
    words.collect()
}

fn said<'a>(rule: &Rule, said: &'a Said) -> (&'a str, &'a str) {
    let found = said.get(&(rule.acl.clone(), rule.rule));
    found.map_or(("", ""), |(action, matches)| (action, matches))
}

/// The rules as a table, the default of each ACL behind them.
fn text(rules: &Rules, all: &Said) -> String {
    if rules.rules.is_empty() {
        return "no ACLs\n".to_owned();
    }
    let mut rows = vec![vec![
        Cell::word("ACL"),
        Cell::number("RULE"),
        Cell::word("ACTION"),
        Cell::number("PACKETS"),
        Cell::number("BYTES"),
        Cell::word("MATCHES"),
    ]];
    for rule in &rules.rules {
        let (action, matches) = said(rule, all);
        let number = rule.rule.map(|sequence| sequence.to_string());
        rows.push(vec![
            Cell::word(&rule.acl),
            Cell::number(number.unwrap_or_else(|| "default".to_owned())),
            Cell::word(action),
            Cell::number(rule.packets),
            Cell::number(rule.bytes),
            Cell::word(matches),
        ]);
    }
    let mut text = columns(&rows).join("\n");
    text.push('\n');
    text
}

fn to_json(rules: &Rules, all: &Said) -> serde_json::Value {
    let mut value = json!(rules);
    let values = value["rules"].as_array_mut().into_iter().flatten();
    for (value, rule) in values.zip(&rules.rules) {
        let (action, _) = said(rule, all);
        value["action"] = match action {
            "" => serde_json::Value::Null,
            action => json!(action),
        };
    }
    value
}

#[cfg(test)]
mod tests {
    use rewire_schema::from_document;

    use super::*;

    #[test]
    fn rules_are_a_table_with_what_they_say() {
        let configuration = from_document(&json!({
            "vpcs": { "blue": {}, "red": {} },
            "address_sets": { "offices": {} },
            "acls": { "between": { "default": "deny_unless_exposed", "rules": {
                "10": { "action": "allow", "from": "blue", "to": "red", "protocol": "tcp", "destination_port": "22,80-90", "log": true },
                "20": { "action": "deny", "scope": "packet", "sources": ["10.0.0.0/8", "192.0.2.7"], "source_set": "offices" },
                "30": { "action": "reject", "description": "The rest", "protocol": "icmp", "icmp_type": 8,
                        "destinations": ["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4"] },
            } } }
        }))
        .unwrap();
        let rule = |acl: &str, rule, packets| Rule {
            acl: acl.to_owned(),
            rule,
            packets,
            bytes: 60 * packets,
        };
        let rules = Rules {
            version: VERSION,
            revision: 12,
            count: 5,
            rules: vec![
                rule("between", Some(10), 1234),
                rule("between", Some(20), 0),
                rule("between", Some(30), 7),
                rule("between", None, 18_000_000),
                rule("of-a-store-that-is-gone", Some(1), 2),
            ],
        };
        let mut all = Said::new();
        say(&configuration, "between", &mut all).unwrap();
        insta::assert_snapshot!(text(&rules, &all));
        let json = to_json(&rules, &all);
        assert_eq!(json["rules"][0]["action"], "allow");
        assert_eq!(json["rules"][3]["action"], "deny_unless_exposed");
        assert_eq!(json["rules"][4]["action"], serde_json::Value::Null);
    }
}

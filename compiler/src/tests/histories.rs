//! Law 4: incremental equals full, over random histories.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use rewire_schema::testing::{consistent, row};
use rewire_schema::{Changeset, Configuration, Row};
use rewire_tables::{Publisher, Reader, TableOperation};
use serde_json::json;

use super::{configuration, tables};
use crate::{Compiler, Errors};

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// Rows are put in and taken out.
    Edit { put: Vec<Row>, remove: Vec<Index> },
    /// Back to a revision of the past, by the inverses of what came since.
    Rewind(Index),
}

fn step() -> impl Strategy<Value = Step> {
    let put = prop::collection::vec(row(), 0..12);
    let remove = prop::collection::vec(any::<Index>(), 0..4);
    prop_oneof![
        5 => (put, remove).prop_map(|(put, remove)| Step::Edit { put, remove }),
        1 => any::<Index>().prop_map(Step::Rewind),
    ]
}

/// What is left of a configuration when all that errors point at is taken out.
pub(super) fn sensible(mut configuration: Configuration) -> Configuration {
    loop {
        configuration = consistent(&configuration);
        let Err(errors) = Compiler::compile(configuration.clone(), 0) else {
            return configuration;
        };
        let rows: Vec<Row> = configuration.rows().collect();
        for error in errors.iter() {
            let path = error
                .path()
                .expect("a whole configuration's errors point at it")
                .steps();
            let at = rows
                .iter()
                .filter(|row| path.starts_with(row.path().steps()));
            let row = at
                .max_by_key(|row| row.path().steps().len())
                .expect("the path is a row's");
            configuration.remove(row);
        }
    }
}

/// A compiler, the history that it went through, and the tables that its operations made.
pub(super) struct History {
    pub(super) compiler: Compiler,
    changesets: Vec<Changeset>,
    publisher: Publisher,
    pub(super) readers: Vec<Reader>,
}

impl History {
    pub(super) fn new() -> History {
        let (publisher, readers) = Publisher::new(1);
        History {
            compiler: Compiler::new(),
            changesets: Vec::new(),
            publisher,
            readers,
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.readers[0]
            .enter()
            .expect("the publisher is there")
            .canonical_lines()
    }

    fn publish(&mut self, operations: impl IntoIterator<Item = TableOperation>) {
        operations
            .into_iter()
            .for_each(|operation| self.publisher.append(operation));
        self.publisher
            .publish(Duration::from_secs(10))
            .expect("no reader stays inside");
    }

    /// Goes where the changeset leads, or fails to, just as compiling that state whole does.
    fn go(&mut self, changeset: Changeset) -> Result<(), Errors> {
        let revision = self.compiler.revision() + 1;
        let mut state = self.compiler.stored().into_owned();
        state
            .apply(&changeset)
            .expect("the changeset follows the state");
        let whole = Compiler::compile(state.clone(), revision);

        let before = self.compiler.clone();
        let checked = self.compiler.check(&changeset);
        assert_eq!(
            checked.as_ref().err(),
            whole.as_ref().err(),
            "check, and a whole compile"
        );
        assert_eq!(self.compiler, before, "a check changes nothing");

        let compiled = match self.compiler.apply(revision, &changeset) {
            Ok(compiled) => compiled,
            Err(errors) => {
                assert_eq!(
                    Some(&errors),
                    whole.as_ref().err(),
                    "apply, and a whole compile"
                );
                assert_eq!(self.compiler, before, "a failed apply changes nothing");
                return Err(errors);
            }
        };
        let (fresh, whole) = whole.expect("what apply takes compiles");
        assert_eq!(self.compiler.stored().as_ref(), &state);
        assert_eq!(self.compiler.configuration(), state.effective().as_ref());
        assert_eq!(self.compiler.state.references, fresh.state.references);

        let whole = tables(&whole.operations);
        self.publish(compiled.operations);
        assert_eq!(
            self.lines(),
            whole.canonical_lines(),
            "incremental, and whole"
        );
        assert_eq!(self.readers[0].enter().unwrap().digest(), whole.digest());
        // The next publication shows the other half.
        self.publish([TableOperation::SetRevision { revision }]);
        assert_eq!(
            self.lines(),
            whole.canonical_lines(),
            "the other half, and whole"
        );
        self.changesets.push(changeset);
        Ok(())
    }

    pub(super) fn edit(&mut self, put: Vec<Row>, remove: Vec<Index>) {
        let state = self.compiler.stored().into_owned();
        let rows: Vec<Row> = state.rows().collect();
        let mut edited = state.clone();
        if !rows.is_empty() {
            remove
                .iter()
                .for_each(|index| drop(edited.remove(index.get(&rows))));
        }
        put.into_iter().for_each(|row| drop(edited.insert(row)));
        // As it is, then as a database would have it, then so that it compiles.
        let consistent = consistent(&edited);
        let candidates = [edited, consistent.clone(), sensible(consistent)];
        let outcomes = candidates
            .iter()
            .map(|candidate| self.go(Changeset::between(&state, candidate)));
        assert!(
            outcomes.into_iter().any(|outcome| outcome.is_ok()),
            "what is sensible compiles"
        );
    }

    pub(super) fn rewind(&mut self, to: Index) {
        let to = to.index(self.changesets.len() + 1);
        let mut back = Changeset::default();
        for changeset in self.changesets[to..].iter().rev() {
            back.then(&changeset.inverse())
                .expect("inverses follow each other");
        }
        self.go(back).expect("what compiled once compiles");
    }
}

/// Much that stands on each other, under the names and addresses that random rows have, for them to meet.
fn dense() -> Configuration {
    let vpc = json!({ "routes": {
        "0.0.0.0/0": { "next_hops": [{ "interface": "c-1" }, { "interface": "B", "via": "10.0.0.2" }] },
        "2001:db8::/32": { "type": "blackhole" }
    } });
    let interface = |vpc: &str, port: &str| {
        json!({
            "vpc": vpc, "port": port, "mac": "02:00:00:00:00:01",
            "addresses": ["10.0.0.1/24", "2001:db8::1/64"], "acl_in": "a", "acl_out": "B",
            "neighbors": { "10.0.0.2": { "mac": "02:00:00:00:00:02" } }
        })
    };
    let rule = |extra: serde_json::Value| {
        let mut rule = json!({ "action": "allow" });
        let more = extra.as_object().expect("an object").clone();
        rule.as_object_mut().expect("an object").extend(more);
        rule
    };
    let acl = json!({ "default": "deny", "rules": {
        "10": rule(json!({ "from": "a", "to": "B", "source_set": "a", "service": "a" })),
        "20": rule(json!({ "sources": ["10.0.0.0/8"], "source_set": "B", "destination_set": "a" })),
        "30": rule(json!({ "protocol": "tcp_udp", "destination_port": "53,80-90" }))
    } });
    let onto = |vpc: &str, interface: &str, pool: Option<&str>| {
        let sources = ["10.0.0.0/8", "10.0.0.0/24"];
        json!({ "vpc": vpc, "interface": interface, "pool": pool, "sources": sources })
    };
    configuration(json!({
        "vpcs": { "a": vpc, "B": vpc, "c-1": {}, "d.e_f": {} },
        "interfaces": {
            "a": interface("a", "ring:b"), "B": interface("B", "null:a"),
            "c-1": interface("c-1", "tap:tap0"), "d.e_f": interface("c-1", "af_packet:eth0")
        },
        "address_sets": {
            "a": { "members": ["10.0.0.0/24", "10.0.0.7", "2001:db8::/32"] },
            "B": { "members": ["10.0.0.2-10.0.0.9"] }
        },
        "services": { "a": { "entries": [
            { "protocol": "tcp", "destination_port": "22" }, { "protocol": "icmp", "icmp_type": 8 }
        ] } },
        "acls": { "a": acl, "B": acl, "c-1": { "default": "allow" } },
        "peerings": { "a": { "acl": "a", "sides": {
            "a": { "expose": { "a": { "ips": ["10.0.0.0/24"] } } }, "B": { "expose": { "a": { "ips": ["10.7.0.0/24"] } } }
        } } },
        "nat": {
            "pools": {
                "a": { "vpc": "B", "ranges": ["198.51.100.1"] },
                "c-1": { "vpc": "c-1", "ranges": ["198.51.100.10-198.51.100.20"] }
            },
            "masquerade": {
                "a": onto("a", "c-1", Some("c-1")), "B": onto("B", "c-1", None),
                "c-1": onto("a", "B", Some("a")), "d.e_f": onto("d.e_f", "a", None)
            },
            "port_forward": { "a": {
                "protocol": "tcp", "external_vpc": "c-1", "external_address": "203.0.113.7",
                "external_port": 80, "internal_vpc": "a", "internal_address": "10.0.0.2",
                "internal_port": 80
            } },
            "static": { "B": {
                "external_vpc": "B", "external_address": "203.0.113.7",
                "internal_vpc": "a", "internal_address": "10.0.0.2"
            } }
        }
    }))
}

proptest! {
    // For a longer run: REWIRE_HISTORIES=10000.
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("REWIRE_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(96)
    ))]

    #[test]
    fn incremental_equals_full(
        from_dense in any::<bool>(),
        steps in prop::collection::vec(step(), 1..=20),
    ) {
        let mut history = History::new();
        if from_dense {
            let all = Changeset::between(&Configuration::default(), &dense());
            history.go(all).expect("it is meant to compile");
        }
        for step in steps {
            match step {
                Step::Edit { put, remove } => history.edit(put, remove),
                Step::Rewind(to) => history.rewind(to),
            }
        }
    }
}

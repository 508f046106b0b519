//! How SQLite goes about the store's statements: through indices, whatever the size of the configuration and of the journal.

use std::sync::Mutex;
use std::time::Duration;

use rewire_schema::model::{InterfaceRow, RouteRow, VpcRow};
use rewire_schema::{Change, Changeset, Row, Table, Value};
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, params_from_iter};

use crate::session::Session;
use crate::{CandidateEdit, CommitRequest, EntryKind, LogQuery, Store, Touching, Unchecked, rows};

/// The steps of a statement's plan that go through a table or an index from its beginning.
pub(crate) fn scans(connection: &Connection, sql: &str) -> Vec<String> {
    let mut plan = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap();
    let parameters = params_from_iter(vec!["x"; plan.parameter_count()]);
    let details = plan
        .query_map(parameters, |row| row.get::<_, String>("detail"))
        .unwrap();
    let details = details.map(|detail| detail.unwrap());
    details
        .filter(|detail| detail.starts_with("SCAN"))
        .collect()
}

static TRACED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn note(event: TraceEvent<'_>) {
    if let TraceEvent::Stmt(_, sql) = event {
        TRACED.lock().unwrap().push(sql.to_owned());
    }
}

fn insertion(rows: impl IntoIterator<Item = Row>) -> Changeset {
    rows.into_iter().map(Change::Insert).collect()
}

fn vpc(name: &str) -> Row {
    VpcRow::new(name.parse().unwrap()).into()
}

/// Does everything that can be done with a store but what goes through all of it by its nature.
fn use_everything(store: &mut Store) {
    let (blue, port) = ("blue".parse().unwrap(), "null:wan".parse().unwrap());
    let mac = "02:00:00:00:00:01".parse().unwrap();
    let interface = InterfaceRow::physical("wan".parse().unwrap(), blue, port, mac);
    let route = RouteRow::unicast("blue".parse().unwrap(), "10.0.0.0/8".parse().unwrap());
    let first = insertion([vpc("blue"), interface.into(), route.into()]);
    let request = CommitRequest::new(0, &first, "ada", "a test");
    store.commit(request, &mut Unchecked).unwrap();
    let second = insertion([vpc("red")]);
    let edit = CandidateEdit {
        base: 1,
        changeset: &second,
        drafts: "",
        author: "ada",
        expected_version: None,
    };
    store.save_candidate("ada", edit).unwrap();
    store.rename_candidate("ada", "red").unwrap();
    let request = CommitRequest {
        clear_candidate: Some("red"),
        confirm: Some(Duration::from_secs(1)),
        ..CommitRequest::new(1, &second, "ada", "a test")
    };
    store.commit(request, &mut Unchecked).unwrap();
    store.rearm_confirmation(Duration::ZERO).unwrap();
    let later = insertion([vpc("green")]);
    let scheduled = CommitRequest::new(1, &later, "ada", "a test");
    store.schedule(scheduled, 0).unwrap();
    store.schedule(scheduled, 0).unwrap();
    // Goes back, commits the one, refuses the other.
    assert_eq!(store.settle(&mut Unchecked).unwrap().len(), 3);
    store.cancel(2).unwrap();
    store.lock("ada", Session::current().unwrap(), "").unwrap();
    store.unlock(true).unwrap();
    store.tag("golden", 1, "ada").unwrap();
    let key = vpc("blue").row_key();
    store.blame(std::slice::from_ref(&key)).unwrap();
    let touching = LogQuery {
        touching: Some(Touching::Rows(std::slice::from_ref(&key))),
        ..LogQuery::last(5)
    };
    store.log(touching).unwrap();
    let below = Touching::Below {
        tables: &[Table::Vpc, Table::Route],
        key_prefix: &[Value::Text("blue".to_owned())],
    };
    let touching = LogQuery {
        touching: Some(below),
        ..LogQuery::last(5)
    };
    store.log(touching).unwrap();
    store.log(LogQuery::last(5)).unwrap();
    store.changesets_since(2).unwrap();
    let undoing = store.revert_changeset(4).unwrap();
    let request = CommitRequest {
        kind: EntryKind::Revert { of: 4 },
        ..CommitRequest::new(4, &undoing, "ada", "a test")
    };
    store.commit(request, &mut Unchecked).unwrap();
    store.untag("golden").unwrap();
    let mut file = Vec::new();
    store.export(2..=5, &mut file).unwrap();
    store.import(&file[..], &mut Unchecked).unwrap();
    store.prune(3, false).unwrap();
}

/// Tables of a row or none, and lists that are asked for as a whole.
const SMALL: [&str; 5] = [
    "meta",
    "checkpoint",
    "confirmation",
    "exclusive_lock",
    "tag",
];

#[test]
fn no_verb_goes_through_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create(folder.path().join("gateway.db")).unwrap();
    let codes = TraceEventCodes::SQLITE_TRACE_STMT;
    store.connection.trace_v2(codes, Some(note));
    use_everything(&mut store);
    store.connection.trace_v2(codes, None);
    let mut traced = std::mem::take(&mut *TRACED.lock().unwrap());
    traced.sort();
    traced.dedup();
    let explained = |sql: &&String| {
        ["SELECT", "INSERT", "UPDATE", "DELETE"]
            .iter()
            .any(|verb| sql.starts_with(verb))
    };
    let statements: Vec<&String> = traced.iter().filter(explained).collect();
    assert!(statements.len() > 30, "{statements:#?}");
    for sql in statements {
        for scan in scans(&store.connection, sql) {
            let table = scan.split(' ').nth(1).unwrap();
            // One step from the end of the journal, or of the schedule, is no way through it.
            let one_step = sql.ends_with("LIMIT 1");
            assert!(one_step || SMALL.contains(&table), "{sql}: {scan}");
        }
    }
}

/// What checkers ask for costs the rows that they get.
#[test]
fn rows_are_found_below_their_object_and_by_what_they_refer_to() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(folder.path().join("gateway.db")).unwrap();
    let text = Value::Text("x".into());
    for table in Table::ALL {
        let definition = table.definition();
        let key: Vec<&str> = definition.columns[..definition.key_len()]
            .iter()
            .map(|column| column.name)
            .collect();
        let prefixes = (1..=key.len()).map(|len| key[..len].to_vec());
        let references = definition
            .references
            .iter()
            .map(|reference| reference.columns.to_vec());
        for columns in prefixes.chain(references) {
            let values = vec![text.clone(); columns.len()];
            let sql = rows::by_sql(*table, &columns, &values).unwrap();
            assert_eq!(scans(&store.connection, &sql), [""; 0], "{sql}");
        }
    }
}

//! Editing by commands: against documents that are edited by hand, against states in memory, and there and back again.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use rewire_schema::edit::words::quote;
use rewire_schema::edit::{self, Command, EditError, Edits, Target, parse_script, to_set_commands};
use rewire_schema::state::{Overlay, Rows};
use rewire_schema::{
    Change, Changeset, ColumnDefinition, Configuration, Marks, Row, RowKey, Step, Table, Value,
    from_document, testing, to_document,
};
use serde_json::{Map, Value as Json, json};

/// Does one command given as a line.
fn run(rows: &dyn Rows, edits: &mut Edits, line: &str) -> Result<edit::Outcome, EditError> {
    let words = edit::words::split(line).unwrap();
    let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    edit::apply(rows, edits, &Command::parse(&words)?)
}

fn run_all(rows: &dyn Rows, edits: &mut Edits, text: &str) {
    let script = parse_script("test", text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let applied = script.apply(rows, edits);
    applied.unwrap_or_else(|errors| panic!("{errors}\n{text}"));
}

fn after(state: &Configuration, edits: &Edits) -> Configuration {
    let mut after = state.clone();
    after
        .apply(&edits.changeset)
        .expect("edits fit onto their state");
    after
}

fn path_words(key: &RowKey) -> String {
    let path = key.path();
    let words: Vec<String> = path.steps().iter().map(|step| quote(step)).collect();
    words.join(" ")
}

/// A `set` with all that a row says, defaults as well; marks of fields are not set.
fn set_all(row: &Row) -> String {
    let mut line = format!("set {}", path_words(&row.row_key()));
    for (column, value) in row.table().definition().columns.iter().zip(row.values()) {
        if !column.key && value != Value::Null && column.field != "marks" {
            let value = match column.show(&value) {
                Json::Bool(flag) => flag.to_string(),
                _ => value.to_string(),
            };
            line.push_str(&format!(" {} {}", column.field, quote(&value)));
        }
    }
    line
}

/// The commands that mark the fields of a row as it says.
fn mark_all(row: &Row) -> Vec<String> {
    let path = path_words(&row.row_key());
    let mut lines = Vec::new();
    for (field, mark) in row.marks().fields().iter() {
        if mark.deactivated {
            lines.push(format!("deactivate {path} {field}"));
        }
        if let Some(note) = &mark.annotation {
            lines.push(format!("annotate {path} {field} {}", quote(note.as_str())));
        }
    }
    lines
}

/// The row without the mark of a field.
fn unmarked(mut row: Row, field: &str) -> Row {
    let mut marks = row.marks().fields().clone();
    marks.remove(field);
    *row.marks_mut() = row.marks().with_fields(marks);
    row
}

/// What a step leads to in a document, made where it is not there. None where a list is too short.
fn enter<'a>(
    at: &'a mut Json,
    step: &str,
    kind: Option<&Step>,
    field: &str,
    list: bool,
) -> Option<&'a mut Json> {
    let empty = || match list {
        true => json!([]),
        false => json!({}),
    };
    match (at, kind) {
        (Json::Object(map), _) => Some(map.entry(step).or_insert_with(empty)),
        (Json::Array(list), Some(Step::Position(_))) => {
            let index: usize = step.parse().ok()?;
            if index == list.len() {
                list.push(json!({}));
            }
            list.get_mut(index)
        }
        (Json::Array(list), Some(Step::Member(_))) => {
            let is = |member: &Json| match member {
                Json::Object(object) => object[field] == *step,
                other => other == step,
            };
            if !list.iter().any(is) {
                list.push(json!(step));
            }
            let member = list.iter_mut().find(|member| is(member))?;
            if !member.is_object() {
                let mut object = Map::new();
                object.insert(field.to_owned(), member.take());
                *member = Json::Object(object);
            }
            Some(member)
        }
        _ => None,
    }
}

/// Puts a row into a document by hand; gives whether it fits.
fn put(document: &mut Json, row: &Row) -> bool {
    let definition = row.table().definition();
    let steps: Vec<Step> = definition.steps().collect();
    let path = row.path();
    let mut at = document;
    for (index, step) in path.steps().iter().enumerate() {
        let next = steps.get(index + 1);
        let list = matches!(next, Some(Step::Position(_) | Step::Member(_)));
        let field = match steps[index] {
            Step::Member(column) => definition.columns[column].field,
            _ => "",
        };
        match enter(at, step, Some(&steps[index]), field, list) {
            Some(inner) => at = inner,
            None => return false,
        }
    }
    for (column, value) in definition.columns.iter().zip(row.values()) {
        if !column.key && value != Value::Null && column.field != "marks" {
            at[column.field] = column.show(&value);
            // A field that goes back to its default loses its marks.
            if let (true, Some(Json::Object(marks))) =
                (column.absent() == Some(value), at.get_mut("marks"))
            {
                marks.shift_remove(column.field);
            }
        }
    }
    true
}

/// Takes what a path leads to out of a document by hand; gives whether it was there.
fn take(document: &mut Json, row: &Row) -> bool {
    let definition = row.table().definition();
    let steps: Vec<Step> = definition.steps().collect();
    let path = row.path();
    let (last, above) = path.steps().split_last().unwrap();
    let mut at = document;
    for step in above {
        let inner = match at {
            Json::Object(map) => map.get_mut(step),
            Json::Array(list) => step.parse::<usize>().ok().and_then(|i| list.get_mut(i)),
            _ => None,
        };
        match inner {
            Some(inner) => at = inner,
            None => return false,
        }
    }
    let index = match (&mut *at, steps.last().unwrap()) {
        (Json::Object(map), _) => return map.remove(last).is_some(),
        (Json::Array(_), Step::Position(_)) => last.parse().ok(),
        (Json::Array(list), Step::Member(column)) => {
            let field = definition.columns[*column].field;
            list.iter().position(|member| match member {
                Json::Object(object) => object[field] == **last,
                other => other == last,
            })
        }
        _ => None,
    };
    match (at, index) {
        (Json::Array(list), Some(index)) if index < list.len() => {
            list.remove(index);
            true
        }
        _ => false,
    }
}

/// The tables whose objects a column names, be it with others: those that it refers to, and their parents.
fn named_by(table: Table, column: &str) -> BTreeSet<Table> {
    let mut named = BTreeSet::new();
    for reference in table.definition().references {
        let Some(index) = reference.columns.iter().position(|c| *c == column) else {
            continue;
        };
        let target = Table::named(reference.table).unwrap();
        if reference.columns.len() == 1 {
            named.insert(target);
        }
        named.extend(named_by(target, target.definition().columns[index].name));
    }
    named
}

/// The state with another name for an object whose key is its name, by looking at every value there is.
fn renamed(state: &Configuration, table: Table, from: &Value, to: &Value) -> Configuration {
    let mut after = Configuration::default();
    for row in state.rows() {
        let definition = row.table().definition();
        let mut values = row.values();
        for (column, value) in definition.columns.iter().zip(&mut values) {
            let own = row.table() == table && column.key;
            if value == from && (own || named_by(row.table(), column.name).contains(&table)) {
                *value = to.clone();
            }
        }
        after.insert(Row::from_values(row.table(), &values).unwrap());
    }
    after
}

fn any_row(state: &Configuration, index: Index) -> Option<Row> {
    let rows: Vec<Row> = state.rows().collect();
    (!rows.is_empty()).then(|| index.get(&rows).clone())
}

/// Fewer cases than usual, since each is a whole session of edits; `PROPTEST_CASES` asks for more.
fn cases() -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(64),
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn setting_is_what_a_person_does_to_the_document(
        state in testing::configuration(),
        rows in proptest::collection::vec(testing::row(), 1..6),
    ) {
        let mut document = to_document(&state);
        let mut edits = Edits::default();
        for row in &rows {
            let before = document.clone();
            let fits = put(&mut document, row);
            let done = run(&state, &mut edits, &set_all(row));
            prop_assert_eq!(fits, done.is_ok(), "{:?}", done);
            if !fits {
                document = before;
            }
        }
        match from_document(&document) {
            Ok(expected) => {
                prop_assert_eq!(&edits.drafts.len(), &0);
                prop_assert_eq!(after(&state, &edits), expected);
            }
            Err(problems) => {
                let found: BTreeSet<String> = edits
                    .incomplete()
                    .iter()
                    .flat_map(|i| i.missing.iter().map(|m| format!("{}: the field \"{m}\" is missing", i.path)))
                    .collect();
                let expected: BTreeSet<String> = problems.iter().map(|p| p.to_string()).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn deleting_is_what_a_person_does_to_the_document(
        state in testing::configuration(),
        rows in proptest::collection::vec((any::<Index>(), testing::row(), any::<bool>()), 1..6),
    ) {
        let mut document = to_document(&state);
        let mut edits = Edits::default();
        for (index, other, there) in rows {
            let row = match any_row(&after(&state, &edits), index) {
                Some(row) if there => row,
                _ => other,
            };
            let fits = take(&mut document, &row);
            let line = format!("delete {}", path_words(&row.row_key()));
            let done = run(&state, &mut edits, &line);
            prop_assert_eq!(fits, done.is_ok(), "{} {:?}", line, done);
            // What was changed is what the edits hold, and no more.
            if let Ok(outcome) = done {
                prop_assert!(!outcome.is_empty());
            }
        }
        prop_assert_eq!(after(&state, &edits), from_document(&document).unwrap());
        prop_assert_eq!(edits.changeset.clone(), Changeset::between(&state, &after(&state, &edits)));
    }

    #[test]
    fn a_field_set_back_is_as_if_it_had_never_been_set(
        state in testing::configuration(),
        index in any::<Index>(),
        which in any::<Index>(),
    ) {
        let Some(row) = any_row(&state, index) else { return Ok(()) };
        let definition = row.table().definition();
        let own = definition.columns.iter().filter(|c| !c.key).count();
        // Where there is no field, there is none to be marked.
        let is_field = |c: &ColumnDefinition| !c.key && (c.name != "marks" || own > Marks::COLUMNS);
        let fields: Vec<_> = definition.columns.iter().enumerate().filter(|(_, c)| is_field(c)).collect();
        let (position, column) = *which.get(&fields);
        let mut edits = Edits::default();
        let line = format!("delete {} {}", path_words(&row.row_key()), column.field);
        run(&state, &mut edits, &line).unwrap();
        match column.absent() {
            Some(absent) => {
                let mut values = row.values();
                values[position] = absent;
                let row = Row::from_values(row.table(), &values).unwrap();
                let row = unmarked(row, column.field);
                prop_assert_eq!(after(&state, &edits).find(&row.row_key()), Some(row));
                prop_assert!(edits.drafts.is_empty());
            }
            None => {
                prop_assert_eq!(edits.incomplete()[0].missing.clone(), vec![column.field]);
                prop_assert_eq!(after(&state, &edits).find(&row.row_key()), None);
            }
        }
        // Given again, it is as it was.
        run(&state, &mut edits, &set_all(&row)).unwrap();
        for line in mark_all(&row) {
            run(&state, &mut edits, &line).unwrap();
        }
        prop_assert_eq!(edits, Edits::default());
    }

    #[test]
    fn a_field_is_marked_where_it_is_given(
        state in testing::configuration(),
        index in any::<Index>(),
        which in any::<Index>(),
        note in "[ -~]{0,20}",
    ) {
        let Some(row) = any_row(&state, index) else { return Ok(()) };
        let columns = row.table().definition().columns.iter().zip(row.values());
        let fields: Vec<_> = columns.filter(|(c, _)| !c.key && !c.is_mark()).collect();
        if fields.is_empty() {
            return Ok(());
        }
        let (column, value) = which.get(&fields).clone();
        let (path, field) = (path_words(&row.row_key()), column.field);
        let mut edits = Edits::default();
        let deactivated = run(&state, &mut edits, &format!("deactivate {path} {field}"));
        let annotated = run(&state, &mut edits, &format!("annotate {path} {field} {}", quote(&note)));
        let given = column.absent() != Some(value);
        prop_assert_eq!(annotated.is_ok(), given, "{:?}", annotated);
        prop_assert_eq!(deactivated.is_ok(), given && !column.required(), "{:?}", deactivated);
        let after = after(&state, &edits);
        let found = after.find(&row.row_key()).unwrap();
        let mark = found.marks().fields().get(field).cloned().unwrap_or_default();
        if given {
            prop_assert_eq!(mark.deactivated, !column.required());
            prop_assert_eq!(mark.annotation.map_or(String::new(), |n| n.to_string()), note);
        }
        // Nothing else of it changed, and what it says, every form of it says.
        prop_assert_eq!(unmarked(found, field), unmarked(row.clone(), field));
        prop_assert_eq!(&from_document(&to_document(&after)).ok(), &Some(after.clone()).filter(|_| from_document(&to_document(&state)).is_ok()));
        // In effect is what is there without it.
        let mut cleared = Edits::default();
        if given && !column.required() {
            run(&state, &mut cleared, &format!("delete {path} {field}")).unwrap();
            let mut without = state.clone();
            without.apply(&cleared.changeset).unwrap();
            prop_assert_eq!(after.effective(), without.effective());
        }
        for line in [format!("activate {path} {field}"), format!("annotate {path} {field} \"\"")] {
            prop_assert_eq!(run(&state, &mut edits, &line).is_ok(), given);
        }
        let plain = unmarked(row.clone(), field);
        prop_assert_eq!(self::after(&state, &edits).find(&row.row_key()), Some(plain));
    }

    #[test]
    fn renaming_changes_the_name_everywhere_and_nothing_else(
        state in testing::configuration(),
        index in any::<Index>(),
        name in select(&["z", "B", "c-1"][..]),
    ) {
        let Some(row) = any_row(&state, index) else { return Ok(()) };
        let key = row.row_key();
        let definition = row.table().definition();
        let is_name = definition.key_len() == 1 && definition.columns[0].name == "name";
        if !is_name {
            return Ok(());
        }
        let values = key.values();
        let new = vec![Value::Text(name.to_owned())];
        let taken = state.find(&RowKey::from_values(row.table(), &new).unwrap()).is_some();
        let mut edits = Edits::default();
        let done = run(&state, &mut edits, &format!("rename {} to {name}", path_words(&key)));
        prop_assert_eq!(done.is_ok(), !taken, "{:?}", done);
        if !taken {
            let expected = renamed(&state, row.table(), &values[0], &new[0]);
            prop_assert_eq!(after(&state, &edits), expected);
            let back = RowKey::from_values(row.table(), &new).unwrap();
            run(&state, &mut edits, &format!("rename {} to {}", path_words(&back), quote(&values[0].to_string()))).unwrap();
        }
        prop_assert_eq!(edits, Edits::default());
    }

    #[test]
    fn objects_below_others_are_renamed_there_and_back(
        state in testing::configuration(),
        index in any::<Index>(),
        other in testing::row(),
    ) {
        let Some(row) = any_row(&state, index) else { return Ok(()) };
        let of_table = state.rows_of(row.table()).chain([other].into_iter().filter(|o| o.table() == row.table()));
        for other in of_table.collect::<Vec<_>>() {
            let (from, to) = (row.row_key(), other.row_key());
            let (mut values, name) = (from.values(), to.values().pop().unwrap());
            *values.last_mut().unwrap() = name.clone();
            let to = RowKey::from_values(row.table(), &values).unwrap();
            let mut edits = Edits::default();
            let line = |from: &RowKey, to: &RowKey| {
                format!("rename {} to {}", path_words(from), quote(&to.values().pop().unwrap().to_string()))
            };
            let done = run(&state, &mut edits, &line(&from, &to));
            let list = matches!(row.table().definition().steps().last(), Some(Step::Position(_) | Step::Field(_)));
            prop_assert_eq!(done.is_ok(), state.find(&to).is_none() && !list, "{:?}", done);
            if done.is_ok() {
                let state_after = after(&state, &edits);
                prop_assert_eq!(state_after.find(&from), None);
                prop_assert_eq!(state_after.len(), state.len());
                prop_assert_eq!(state_after.find(&to).map(|r| r.fields()), Some(row.fields()));
                run(&state, &mut edits, &line(&to, &from)).unwrap();
            }
            prop_assert_eq!(&edits, &Edits::default());
        }
    }

    #[test]
    fn a_copy_is_what_the_original_is(state in testing::configuration(), index in any::<Index>()) {
        let Some(row) = any_row(&state, index) else { return Ok(()) };
        let definition = row.table().definition();
        if definition.key_len() != 1 || definition.columns[0].name != "name" {
            return Ok(());
        }
        let path = path_words(&row.row_key());
        let mut edits = Edits::default();
        run(&state, &mut edits, &format!("copy {path} to z")).unwrap();
        let copied = after(&state, &edits);
        // Without the original, the copy is all that a renamed one would have been, but for what names it.
        run(&state, &mut edits, &format!("delete {path}")).unwrap();
        let mut other = Edits::default();
        run(&state, &mut other, &format!("rename {path} to z")).unwrap();
        let key = |text: &str| Target::resolve(&text.split(' ').collect::<Vec<_>>()).unwrap();
        let place = path.rsplit_once(' ').unwrap().0;
        let z = key(&format!("{place} z"));
        let one = edit::set_commands(&after(&state, &edits), &z).unwrap();
        let renamed = edit::set_commands(&after(&state, &other), &z).unwrap();
        prop_assert_eq!(one.lines().count(), renamed.lines().count());
        // Nothing that was there is other than before.
        for change in Changeset::between(&state, &copied).iter() {
            prop_assert!(matches!(change, Change::Insert(_)));
        }
    }

    #[test]
    fn marks_come_and_go(state in testing::configuration(), index in any::<Index>(), note in "[ -~]{0,20}") {
        let Some(row) = any_row(&state, index) else { return Ok(()) };
        let path = path_words(&row.row_key());
        let mut edits = Edits::default();
        let marks = |edits: &Edits| after(&state, edits).find(&row.row_key()).unwrap().marks().clone();
        run(&state, &mut edits, &format!("deactivate {path}")).unwrap();
        prop_assert!(marks(&edits).deactivated());
        run(&state, &mut edits, &format!("annotate {path} {}", quote(&note))).unwrap();
        let said = marks(&edits).annotation().map(|note| note.to_string());
        prop_assert_eq!(said.unwrap_or_default(), note);
        prop_assert!(marks(&edits).deactivated());
        run(&state, &mut edits, &format!("activate {path}")).unwrap();
        run(&state, &mut edits, &format!("annotate {path} ''")).unwrap();
        let mut plain = row.clone();
        *plain.marks_mut() = Marks::default().with_fields(row.marks().fields().clone());
        prop_assert_eq!(after(&state, &edits).find(&row.row_key()), Some(plain));
    }

    #[test]
    fn a_state_is_shown_as_its_document(
        (state, changeset) in testing::configuration().prop_flat_map(|state| {
            let changeset = testing::changeset_on(&state);
            (Just(state), changeset)
        }),
    ) {
        let edits = Edits { changeset, ..Edits::default() };
        let after = after(&state, &edits);
        let shown = edit::document_at(&state, &edits, &Target::root()).unwrap();
        let document = to_document(&after);
        prop_assert_eq!(&shown.unwrap_or_else(|| json!({})), &document);
        for row in after.rows() {
            let path = row.path();
            let mut expected = Some(&document);
            for step in path.steps() {
                expected = match expected {
                    Some(Json::Object(map)) => map.get(step),
                    Some(Json::Array(list)) => step.parse::<usize>().ok().and_then(|index| list.get(index)),
                    _ => None,
                };
            }
            // Members of sets stand in documents by their place, in paths by their text.
            if let Some(expected) = expected.filter(|_| !row.table().definition().place.ends_with('>')) {
                let target = Target::resolve(path.steps()).unwrap();
                let shown = edit::document_at(&after, &Edits::default(), &target).unwrap();
                prop_assert_eq!(shown.as_ref(), Some(expected));
            }
        }
    }

    #[test]
    fn what_is_written_as_commands_is_read_as_it_was(state in testing::configuration()) {
        let text = to_set_commands(&state);
        let mut edits = Edits::default();
        run_all(&Configuration::default(), &mut edits, &text);
        prop_assert_eq!(edits.drafts.len(), 0);
        prop_assert_eq!(after(&Configuration::default(), &edits), state, "{}", text);
    }

    #[test]
    fn edits_written_as_commands_make_the_same_edits(
        (state, changeset) in testing::configuration().prop_flat_map(|state| {
            let changeset = testing::changeset_on(&state);
            (Just(state), changeset)
        }),
    ) {
        let edits = Edits { changeset, ..Edits::default() };
        let text = edits.to_set_commands();
        let mut again = Edits::default();
        run_all(&state, &mut again, &text);
        prop_assert_eq!(again, edits, "{}", text);
    }

    #[test]
    fn any_edits_are_kept_and_written(
        state in testing::configuration(),
        steps in proptest::collection::vec((any::<Index>(), testing::row(), 0..7u8, any::<Index>()), 1..12),
    ) {
        let mut edits = Edits::default();
        let mut last = Edits::default();
        for (index, row, verb, field) in steps {
            let there = any_row(&after(&state, &edits), index).unwrap_or_else(|| row.clone());
            let path = path_words(&there.row_key());
            let fields: Vec<&str> = there.table().definition().columns.iter().filter(|c| !c.key).map(|c| c.field).collect();
            let line = match verb {
                0 | 1 => set_all(&row),
                2 => format!("set {}", path_words(&row.row_key())),
                3 => format!("delete {path}"),
                4 => format!("delete {path} {}", field.get(&fields)),
                5 => format!("rename {path} to z"),
                _ => format!("deactivate {path}"),
            };
            let done = run(&state, &mut edits, &line);
            // A command that fails changes nothing; one that does not is seen the same way over a state made whole.
            match done {
                Err(_) => prop_assert_eq!(&edits, &last),
                Ok(outcome) => {
                    let whole = after(&state, &last);
                    let mut on_whole = Edits { drafts: last.drafts.clone(), ..Edits::default() };
                    prop_assert_eq!(&run(&whole, &mut on_whole, &line).unwrap(), &outcome, "{}", line);
                    let on_overlay = Overlay::new(&state, &last.changeset);
                    let mut edits_on_overlay = Edits { drafts: last.drafts.clone(), ..Edits::default() };
                    prop_assert_eq!(&run(&on_overlay, &mut edits_on_overlay, &line).unwrap(), &outcome);
                    prop_assert_eq!(&edits.drafts, &on_whole.drafts);
                }
            }
            last = edits.clone();
        }
        let kept = Edits::new(edits.changeset.clone(), &edits.drafts_text()).unwrap();
        prop_assert_eq!(&kept, &edits);
        let text = edits.to_set_commands();
        let mut again = Edits::default();
        run_all(&state, &mut again, &text);
        prop_assert_eq!(again, edits, "{}", text);
    }

    #[test]
    fn what_somebody_else_completed_is_a_row(row in testing::row(), column in any::<Index>()) {
        let definition = row.table().definition();
        let required: Vec<_> = definition.columns.iter().filter(|column| column.required()).collect();
        if required.is_empty() {
            return Ok(());
        }
        let state = Configuration::default();
        let mut edits = Edits::default();
        if run(&state, &mut edits, &set_all(&row)).is_err() {
            // An entry of a list that is not the first has nothing before it here.
            return Ok(());
        }
        let missing = column.get(&required);
        let path = path_words(&row.row_key());
        run(&state, &mut edits, &format!("delete {path} {}", missing.field)).unwrap();
        prop_assert!(edits.drafts.contains_key(&row.row_key()));
        let mut theirs = Configuration::default();
        theirs.insert(row.clone());
        edits.changeset = Changeset::default();
        edit::complete_drafts(&state, &mut edits).unwrap();
        prop_assert!(edits.drafts.contains_key(&row.row_key()));
        edit::complete_drafts(&theirs, &mut edits).unwrap();
        prop_assert!(!edits.drafts.contains_key(&row.row_key()));
        prop_assert_eq!(after(&theirs, &edits).find(&row.row_key()), Some(row));
    }

    #[test]
    fn some_rows_under_edits_are_as_many_as_asked_for(
        (state, changeset) in testing::configuration().prop_flat_map(|state| {
            let changeset = testing::changeset_on(&state);
            (Just(state), changeset)
        }),
        most in 0..6usize,
    ) {
        let overlay = Overlay::new(&state, &changeset);
        for table in Table::ALL {
            let all = overlay.below(*table, &[]).unwrap();
            let some = overlay.some_below(*table, &[], most).unwrap();
            prop_assert_eq!(some.len(), most.min(all.len()));
            prop_assert!(some.iter().all(|row| all.contains(row)));
        }
    }

    #[test]
    fn paths_with_dots_lead_where_words_do(row in testing::row()) {
        let path = row.path();
        let by_words = Target::resolve(path.steps()).unwrap();
        let by_dots = Target::resolve(&[path.to_string()]).unwrap();
        prop_assert_eq!(by_words.row_key(), Some(row.row_key()));
        prop_assert_eq!(by_dots.row_key(), Some(row.row_key()), "{}", path);
        for (name, _) in row.fields() {
            // Where there is no field, there is none to be marked.
            if name == "marks" && row.fields().len() == Marks::COLUMNS {
                continue;
            }
            let field = Target::resolve(&[path.join(name).to_string()]).unwrap();
            prop_assert_eq!(field.path(), path.join(name));
        }
    }

    #[test]
    fn no_text_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(script) = parse_script("bytes", &bytes) {
            let _ = script.apply(&Configuration::default(), &mut Edits::default());
        }
    }

    #[test]
    fn no_words_make_it_panic(
        words in proptest::collection::vec(
            prop_oneof![
                select(&["set", "delete", "rename", "copy", "annotate", "deactivate", "to", "+", "+0", "0", "9", "-1", "",
                    "vpcs", "blue", "routes", "10.0.0.0/8", "next_hops", "interface", "interfaces", "addresses", "mtu",
                    "10.0.0.1/24", "nat", "pools", "ranges", "10.0.0.1", "deactivated", "annotation", "true", "type",
                    "vpcs.blue", "vpcs.blue.routes[", "vpcs[blue].routes.10.0.0.0/8.next_hops[0].via", ".", "..", "["][..])
                    .prop_map(str::to_owned),
                any::<String>(),
            ],
            0..12,
        ),
    ) {
        if let Err(error) = Command::parse(&words).and_then(|command| {
            edit::apply(&Configuration::default(), &mut Edits::default(), &command)
        }) {
            let shown = edit::explain("command", 1, &words, &error).to_string();
            prop_assert!(!shown.is_empty());
        }
    }
}

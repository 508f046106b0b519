//! Names for revisions.

mod common;

use common::*;
use rewire_configdb::{Error, Store};

#[test]
fn a_revision_may_have_names_and_a_name_one_revision() {
    let (_folder, path) = folder();
    let clock = Clock::default();
    let mut store = clock.create(&path);
    commit(&mut store, &insert([vpc("blue", None)])).unwrap();
    clock.set(5);
    store.tag("golden", 1, "ada").unwrap();
    store.tag("first", 1, "bob").unwrap();
    store.tag("empty", 0, "bob").unwrap();
    let error = store.tag("golden", 0, "eve").unwrap_err();
    insta::assert_snapshot!(text(&error), @r#"tag "golden" is taken: it names revision 1"#);
    assert!(matches!(
        store.tag("golden", 1, "ada"),
        Err(Error::TagExists { .. })
    ));
    assert!(matches!(
        store.tag("future", 2, "ada"),
        Err(Error::NoSuchRevision {
            revision: 2,
            head: 1
        })
    ));
    assert!(matches!(
        store.tag("a b", 1, "ada"),
        Err(Error::BadName { .. })
    ));
    drop(store);

    let mut store = Store::open(&path).unwrap();
    let tags = store.tags().unwrap();
    let found: Vec<_> = tags
        .iter()
        .map(|tag| {
            (
                tag.name.as_str(),
                tag.revision,
                tag.author.as_str(),
                tag.tagged_at,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("empty", 0, "bob", 5),
            ("first", 1, "bob", 5),
            ("golden", 1, "ada", 5)
        ]
    );
    assert_eq!(store.untag("golden").unwrap(), Some(tags[2].clone()));
    assert_eq!(store.untag("golden").unwrap(), None);
    store.tag("golden", 0, "eve").unwrap();
}

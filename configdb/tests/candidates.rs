//! Candidates: any number of them, each under a name, and nobody saves over somebody else's edits without noticing.

mod common;

use common::*;
use rewire_configdb::{CandidateEdit, CommitRequest, Counts, Error, Store, Unchecked};
use rewire_schema::{Change, Changeset};

fn edit<'a>(base: u64, changeset: &'a Changeset, author: &'a str) -> CandidateEdit<'a> {
    CandidateEdit {
        base,
        changeset,
        drafts: "",
        author,
        expected_version: None,
    }
}

#[test]
fn candidates_are_kept_replaced_and_discarded() {
    let (_folder, path) = folder();
    let clock = Clock::default();
    clock.set(7);
    let mut store = clock.create(&path);
    // A candidate need not be consistent.
    let first = insert([interface("wan", "nowhere", "null:a")]);
    let drafts = "set interfaces lan vpc";
    let saved = store.save_candidate(
        "ada",
        CandidateEdit {
            drafts,
            ..edit(0, &first, "ada")
        },
    );
    let version = saved.unwrap();
    save_candidate(&mut store, "bob", 0, &Changeset::default(), "bob").unwrap();
    assert!(matches!(
        save_candidate(&mut store, "ada", 1, &first, "ada"),
        Err(Error::NoSuchRevision {
            revision: 1,
            head: 0
        })
    ));
    drop(store);

    let mut store = clock.open(&path);
    assert_eq!(candidate_names(&store), ["ada", "bob"]);
    let candidate = store.candidate("ada").unwrap().unwrap();
    assert_eq!(
        (candidate.base, &candidate.changeset, candidate.updated_at),
        (0, &first, 7)
    );
    assert_eq!(
        (candidate.drafts.as_str(), candidate.version),
        (drafts, version)
    );
    let summaries = store.candidates().unwrap();
    assert_eq!(
        summaries[0].counts,
        Counts {
            inserted: 1,
            updated: 0,
            deleted: 0
        }
    );
    assert_eq!(summaries[0].version, version);
    assert_eq!(
        (summaries[0].has_drafts, summaries[1].has_drafts),
        (true, false)
    );

    let second = insert([vpc("blue", None)]);
    save_candidate(&mut store, "ada", 0, &second, "eve").unwrap();
    let candidate = store.candidate("ada").unwrap().unwrap();
    assert_eq!(
        (candidate.changeset, candidate.author.as_str()),
        (second, "eve")
    );
    assert_eq!(candidate.drafts, "");
    assert!(store.discard_candidate("ada").unwrap());
    assert!(!store.discard_candidate("ada").unwrap());
    assert_eq!(candidate_names(&store), ["bob"]);
}

#[test]
fn who_saves_over_others_edits_is_told() {
    let (_folder, path) = folder();
    let mut store = Store::create(&path).unwrap();
    let mut other = Store::open(&path).unwrap();
    let (ours, theirs) = (insert([vpc("blue", None)]), insert([vpc("red", None)]));
    let expecting = |changeset, version| CandidateEdit {
        expected_version: Some(version),
        ..edit(0, changeset, "ada")
    };
    // Both found the name free.
    let version = store.save_candidate("shared", expecting(&ours, 0)).unwrap();
    let error = other
        .save_candidate("shared", expecting(&theirs, 0))
        .unwrap_err();
    insta::assert_snapshot!(text(&error), @r#"candidate "shared" was changed in between, last by ada"#);
    // Both saw the same version.
    let next = store
        .save_candidate("shared", expecting(&theirs, version))
        .unwrap();
    assert!(next > version);
    assert!(matches!(
        other.save_candidate("shared", expecting(&ours, version)),
        Err(Error::CandidateChanged { expected, found, .. }) if (expected, found) == (version, next)
    ));
    assert_eq!(
        store.candidate("shared").unwrap().unwrap().changeset,
        theirs
    );
    // It was removed, and made again: still not what was seen.
    store.discard_candidate("shared").unwrap();
    let error = other
        .save_candidate("shared", expecting(&ours, next))
        .unwrap_err();
    insta::assert_snapshot!(text(&error), @r#"candidate "shared" was removed in between"#);
    store.save_candidate("shared", expecting(&ours, 0)).unwrap();
    assert!(matches!(
        other.save_candidate("shared", expecting(&theirs, next)),
        Err(Error::CandidateChanged { .. })
    ));
    // A commit of what was seen leaves alone what was saved since.
    let request = CommitRequest {
        clear_candidate: Some("shared"),
        candidate_version: Some(next),
        ..CommitRequest::new(0, &theirs, "ada", "a test")
    };
    assert!(matches!(
        other.commit(request, &mut Unchecked),
        Err(Error::CandidateChanged { .. })
    ));
    assert_eq!(
        (store.head().unwrap(), candidate_names(&store)),
        (0, vec!["shared".to_owned()])
    );
}

#[test]
fn names_are_those_of_objects() {
    let (_folder, path) = folder();
    let mut store = Store::create(&path).unwrap();
    let empty = Changeset::default();
    let long = "a".repeat(64);
    for name in ["", "-x", "a b", "a/b", "é", long.as_str()] {
        let error = save_candidate(&mut store, name, 0, &empty, "ada").unwrap_err();
        assert!(matches!(error, Error::BadName { .. }), "{name}");
    }
    save_candidate(&mut store, &long[1..], 0, &empty, "ada").unwrap();
    assert!(matches!(
        store.rename_candidate(&long[1..], "a b"),
        Err(Error::BadName { .. })
    ));
    assert_eq!(candidate_names(&store), [&long[1..]]);
}

#[test]
fn candidates_are_renamed_but_not_over_each_other() {
    let (_folder, path) = folder();
    let mut store = Store::create(&path).unwrap();
    let changeset = insert([vpc("blue", None)]);
    let version = save_candidate(&mut store, "old", 0, &changeset, "ada").unwrap();
    save_candidate(&mut store, "other", 0, &Changeset::default(), "bob").unwrap();
    assert!(matches!(
        store.rename_candidate("old", "other"),
        Err(Error::CandidateExists { .. })
    ));
    assert!(matches!(
        store.rename_candidate("absent", "new"),
        Err(Error::NoSuchCandidate { .. })
    ));
    store.rename_candidate("old", "old").unwrap();
    store.rename_candidate("old", "new").unwrap();
    assert_eq!(candidate_names(&store), ["new", "other"]);
    let candidate = store.candidate("new").unwrap().unwrap();
    assert_eq!(candidate.changeset, changeset);
    assert!(candidate.version > version);
}

/// Two people change different things of one object, and one moves onto what the other committed.
#[test]
fn a_candidate_moves_onto_the_last_revision() {
    let (_folder, path) = folder();
    let mut store = Store::create(&path).unwrap();
    let wan = |port: &str, mtu| {
        let rewire_schema::Row::Interface(mut row) = interface("wan", "blue", port) else {
            unreachable!()
        };
        row.mtu = mtu;
        rewire_schema::Row::Interface(row)
    };
    commit(
        &mut store,
        &insert([vpc("blue", None), wan("null:a", 1500)]),
    )
    .unwrap();
    let change = |before, after| -> Changeset { [update(before, after)].into_iter().collect() };
    let ours = change(wan("null:a", 1500), wan("null:b", 1500));
    save_candidate(&mut store, "ada", 1, &ours, "ada").unwrap();
    let before = store.candidate("ada").unwrap().unwrap();
    assert_eq!(
        store.rebase_candidate("ada").unwrap(),
        before,
        "it is there already"
    );

    commit(
        &mut store,
        &change(wan("null:a", 1500), wan("null:a", 9000)),
    )
    .unwrap();
    let moved = store.rebase_candidate("ada").unwrap();
    assert_eq!(moved.base, 2);
    assert_eq!(
        moved.changeset,
        change(wan("null:a", 9000), wan("null:b", 9000))
    );
    assert_eq!(store.candidate("ada").unwrap(), Some(moved.clone()));
    assert!(moved.version > before.version);

    // Both change the port: a conflict that names everybody, and leaves everything as it was.
    commit(
        &mut store,
        &change(wan("null:a", 9000), wan("null:c", 9000)),
    )
    .unwrap();
    let error = store.rebase_candidate("ada").unwrap_err();
    insta::assert_snapshot!(text(&error), @"interfaces.wan.port: base null:a, ours null:b, theirs null:c (revision 3 by ada)");
    assert_eq!(store.candidate("ada").unwrap(), Some(moved));
    assert!(matches!(
        store.rebase_candidate("absent"),
        Err(Error::NoSuchCandidate { .. })
    ));
}

#[test]
fn a_commit_of_an_old_candidate_merges_or_is_refused() {
    let (_folder, path) = folder();
    let mut store = Store::create(&path).unwrap();
    let blue = |text| vpc("blue", Some(text));
    commit(&mut store, &insert([blue("one"), vpc("red", None)])).unwrap();
    let ours: Changeset = [
        update(blue("one"), blue("ours")),
        Change::Insert(vpc("green", None)),
    ]
    .into_iter()
    .collect();
    let request = CommitRequest {
        merge: true,
        ..CommitRequest::new(1, &ours, "ada", "ours")
    };
    let theirs = CommitRequest::new(1, &ours, "ada", "ours");
    // Somebody else is faster, elsewhere.
    let gone: Changeset = [Change::Delete(vpc("red", None))].into_iter().collect();
    commit(&mut store, &gone).unwrap();
    assert!(matches!(
        store.commit(theirs, &mut Unchecked),
        Err(Error::StaleCandidate { base: 1, head: 2 })
    ));
    let checked = store.check(request, &mut Unchecked).unwrap();
    assert_eq!((checked.merged, checked.rebased), (Some(2..=2), None));
    // And then at the same place, to another value.
    let change: Changeset = [update(blue("one"), blue("theirs"))].into_iter().collect();
    let other = CommitRequest::new(2, &change, "bob", "theirs");
    store.commit(other, &mut Unchecked).unwrap();
    let error = store.commit(request, &mut Unchecked).unwrap_err();
    insta::assert_snapshot!(text(&error), @"vpcs.blue.description: base one, ours ours, theirs theirs (revision 3 by bob)");
    assert_eq!(store.head().unwrap(), 3);
    // They take it back: what is left to do is ours.
    rewind(&mut store, 2).unwrap();
    let committed = store.commit(request, &mut Unchecked).unwrap();
    assert_eq!((committed.revision, committed.merged), (5, Some(2..=4)));
    // The same again: all of it is done already.
    assert!(matches!(
        store.commit(request, &mut Unchecked),
        Err(Error::NothingToCommit)
    ));
    assert!(matches!(
        store.commit(CommitRequest { base: 9, ..request }, &mut Unchecked),
        Err(Error::NoSuchRevision {
            revision: 9,
            head: 5
        })
    ));
}

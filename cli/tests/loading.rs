//! Documents that are no whole configuration: what they do to the candidate.

mod session;

use session::{Session, assert_transcript};

fn session() -> Session {
    let mut s = Session::new();
    s.quietly(&["init"]);
    s.write(
        "base.yaml",
        "vpcs: {a: {description: one, routes: {10.0.0.0/8: {type: blackhole}}}, b: {}}",
    );
    s.quietly(&["commit", "--load", "base.yaml", "-m", "base"]);
    s
}

#[test]
fn a_document_is_merged_put_in_place_or_patched() {
    let mut s = session();
    s.write(
        "part.yaml",
        "vpcs: {a: {routes: {10.1.0.0/16: {type: unreachable}}}}",
    );
    s.write(
        "patch.json",
        r#"{"vpcs": {"a": {"description": null}, "b": null}}"#,
    );
    s.rewire(&["load", "merge", "part.yaml"]);
    s.rewire(&["diff"]);
    // The next one goes on from there.
    s.rewire(&["load", "patch", "patch.json"]);
    s.rewire(&["diff"]);
    s.rewire(&["load", "replace", "part.yaml"]);
    s.rewire(&["diff"]);
    s.rewire_with_input(&["load", "override", "-"], "vpcs: {c: {}}");
    s.rewire(&["diff"]);
    s.rewire(&["load", "base.yaml"]);
    s.rewire(&["diff"]);
    assert_transcript!(s);
}

#[test]
fn what_is_wrong_with_a_part_changes_nothing() {
    let mut s = session();
    s.write("part.yaml", "vpcs: {a: {description: two}}");
    s.quietly(&["load", "merge", "part.yaml"]);
    s.write("shape.yaml", "vpcs:\n  a:\n    descripton: x\n");
    s.write("new.yaml", "interfaces:\n  wan: {mtu: 9000}\n");
    for arguments in [
        &["load", "merge", "shape.yaml"][..],
        &["load", "merge", "new.yaml"],
        &["load", "patch", "none.yaml"],
        &["load", "mix", "part.yaml"],
        &["load"],
        &["load", "merge", "part.yaml", "base.yaml"],
    ] {
        assert_eq!(s.rewire(arguments), 2, "{arguments:?}");
    }
    // What a merge means together with the rest is asked at the check.
    s.write(
        "dangling.yaml",
        "vpcs: {a: {routes: {0.0.0.0/0: {next_hops: [{interface: wan}]}}}}",
    );
    s.rewire(&["load", "merge", "dangling.yaml"]);
    s.rewire(&["check"]);
    s.rewire(&["commit"]);
    s.rewire(&["diff"]);
    assert_transcript!(s);
}

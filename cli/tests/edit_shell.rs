//! The shell of `rewire edit`, fed line by line as scripts do.

mod session;

use session::{Session, assert_transcript};

/// A session whose shell has done these lines; what it said is in the transcript.
fn shell(lines: &str) -> Session {
    let mut session = Session::with_one_revision();
    session.rewire_with_input(&["edit"], lines);
    session
}

#[test]
fn paths_are_from_the_place_on() {
    let session = shell(
        "edit vpcs red\n\
         set description \"the tenant\"\n\
         edit routes 10.9.0.0/16\n\
         set type blackhole\n\
         show\n\
         up\n\
         show routes 10.9.0.0/16 | display set\n\
         top set vpcs green\n\
         exit\n\
         delete type\n\
         set next_hops + interface wan0\n\
         top\n\
         show vpcs red routes | compare\n\
         show running vpcs red routes\n\
         show vpcs.green\n\
         quit\n\
         set vpcs never\n",
    );
    assert_transcript!(session);
}

#[test]
fn every_other_command_works_on_the_candidate() {
    let session = shell(
        "# comments and empty lines are nothing\n\
         \n\
         set vpcs green description x\n\
         check\n\
         compare\n\
         commit -m \"green is new\" --no-wait\n\
         log -n 1\n\
         rollback 1\n\
         show | compare\n\
         discard\n\
         run show running vpcs green\n",
    );
    assert_transcript!(session);
}

#[test]
fn the_first_command_that_fails_ends_a_script() {
    for (name, lines) in [
        (
            "words",
            "set vpcs green\n\nset vpcs green rutes x\nset vpcs blue\n",
        ),
        ("quote", "set vpcs green description \"x\n"),
        ("verb", "set vpcs green\nstatsu\n"),
        ("arguments", "commit --mesage x\n"),
        ("place", "edit vpcs red description\n"),
        ("not_here", "run edit\n"),
        ("filter", "show | more\n"),
        (
            "incomplete",
            "set interfaces dmz mtu 9000\ncommit -m \"too early\"\n",
        ),
    ] {
        let mut session = shell(lines);
        session.rewire(&["diff"]);
        session
            .settings()
            .bind(|| insta::assert_snapshot!(format!("ends_{name}"), session.transcript()));
    }
}

#[test]
fn a_script_for_machines_answers_each_line() {
    let mut session = Session::with_one_revision();
    session.rewire_with_input(
        &["edit", "--json", "vpcs", "red"],
        "set description x\nshow\n",
    );
    assert_transcript!(session);
}

#[test]
fn an_exclusive_shell_keeps_others_from_committing() {
    let mut session = Session::with_one_revision();
    session.rewire_with_input(
        &["edit", "--exclusive"],
        "set vpcs green\ncommit --no-wait\n",
    );
    // The lock ended with the shell.
    session.rewire(&["status", "--json"]);
    session.rewire(&["set", "vpcs", "blue"]);
    session.rewire(&["commit", "--no-wait"]);
    assert_transcript!(session);
}

//! The verbs of editing on the command line: what is typed, what is seen, and what is committed in the end.

mod session;

use session::{Session, assert_transcript};

#[test]
fn a_network_is_made_by_commands() {
    let mut session = Session::new();
    session.quietly(&["init"]);
    session.rewire(&["set", "vpcs", "blue", "description", "the inside"]);
    session.rewire(&[
        "set",
        "interfaces",
        "lan",
        "port",
        "null:lan",
        "mac",
        "02:00:00:00:00:01",
    ]);
    session.rewire(&["set", "interfaces", "lan", "addresses", "10.1.0.1/24"]);
    session.rewire(&["check"]);
    session.rewire(&["commit", "-m", "too early"]);
    session.rewire(&["set", "interfaces.lan.vpc", "blue"]);
    session.rewire(&[
        "set",
        "vpcs",
        "blue",
        "routes",
        "10.9.0.0/16",
        "next_hops",
        "+",
        "interface",
        "lan",
        "via",
        "10.1.0.2",
    ]);
    session.rewire(&[
        "set",
        "vpcs",
        "blue",
        "routes",
        "10.9.0.0/16",
        "next_hops",
        "+0",
        "interface",
        "lan",
        "via",
        "10.1.0.3",
    ]);
    session.rewire(&["check"]);
    session.rewire(&["commit", "-m", "the first network", "--no-wait"]);
    session.rewire(&["show"]);
    session.rewire(&["rename", "interfaces", "lan", "to", "lan0"]);
    session.rewire(&["copy", "vpcs", "blue", "to", "green"]);
    session.rewire(&["deactivate", "vpcs", "green"]);
    session.rewire(&["annotate", "vpcs", "green", "until the move"]);
    session.rewire(&[
        "delete",
        "vpcs",
        "blue",
        "routes",
        "10.9.0.0/16",
        "next_hops",
        "0",
    ]);
    session.rewire(&["delete", "vpcs", "blue", "description"]);
    session.rewire(&["delete", "vpcs", "blue", "description"]);
    session.rewire(&["diff"]);
    session.rewire(&["activate", "vpcs", "green", "--json"]);
    session.rewire(&["set", "interfaces", "dmz", "mtu", "9000", "--json"]);
    session.rewire(&["commit", "--json"]);
    assert_transcript!(session);
}

#[test]
fn what_is_wrong_is_pointed_at_and_changes_nothing() {
    let mut session = Session::with_one_revision();
    session.rewire(&["set"]);
    session.rewire(&["set", "vpcs", "red", "rutes"]);
    session.rewire(&[
        "set",
        "vpcs",
        "red",
        "description",
        "two words",
        "mtu",
        "9000",
    ]);
    session.rewire(&["set", "vpcs.red.routes.10.0.0.1/8.type", "blackhole"]);
    session.rewire(&["delete", "interfaces", "wann"]);
    session.rewire(&["delete", "interfaces", "wann", "--json"]);
    session.rewire(&["rename", "vpcs", "red"]);
    session.rewire(&["deactivate", "nat"]);
    session.rewire(&["annotate", "vpcs", "red", "\u{1b}[31m"]);
    session.rewire(&["set", "vpcs", "red", "-x"]);
    session.rewire(&["set", "vpcs", "red", "--", "-x"]);
    session.rewire(&["candidates"]);
    session.rewire(&["update"]);
    assert_transcript!(session);
}

#[test]
fn candidates_are_apart_and_brought_up_to_date() {
    let mut session = Session::with_one_revision();
    session.rewire(&[
        "--candidate",
        "ada",
        "set",
        "vpcs",
        "red",
        "description",
        "ada's",
    ]);
    session.rewire(&[
        "--candidate",
        "bob",
        "set",
        "vpcs",
        "red",
        "routes",
        "10.9.0.0/16",
        "type",
        "blackhole",
    ]);
    session.quietly(&["--candidate", "bob", "commit", "--no-wait"]);
    session.rewire(&["--candidate", "ada", "update"]);
    session.rewire(&["--candidate", "ada", "update"]);
    session.rewire(&["--candidate", "ada", "diff"]);
    session.rewire(&[
        "--candidate",
        "bob",
        "set",
        "vpcs",
        "red",
        "description",
        "bob's",
    ]);
    session.quietly(&["--candidate", "bob", "commit", "--no-wait"]);
    session.rewire(&["--candidate", "ada", "update"]);
    session.rewire(&["--candidate", "ada", "update", "--json"]);
    assert_transcript!(session);
}

#[test]
fn commands_are_loaded_from_a_file() {
    let mut session = Session::with_one_revision();
    session.write(
        "change.set",
        "# a tenant more\nset vpcs green description \"the third\"\nset vpcs green routes 10.9.0.0/16 type blackhole\n",
    );
    session.rewire(&["load", "set", "change.set"]);
    session.rewire(&["diff"]);
    session.rewire(&["show", "candidate", "vpcs", "green"]);
    session.rewire(&["show", "candidate", "vpcs.green", "--format", "set"]);
    session.rewire(&["show", "candidate", "vpcs", "gren"]);
    session.write("bad.set", "set vpcs yellow\ndelete vpcs gren\nset vpcs\n");
    session.rewire(&["load", "set", "bad.set"]);
    session.write("absent.set", "set vpcs yellow\ndelete vpcs gren\n");
    session.rewire(&["load", "set", "absent.set"]);
    session.rewire_with_input(&["load", "set", "-"], "set interfaces dmz mtu 9000\n");
    session.write(
        "dmz.yaml",
        "interfaces: {dmz: {vpc: green, port: \"null:dmz\", mac: 02:00:00:00:00:09}}\n",
    );
    session.rewire(&["load", "merge", "dmz.yaml"]);
    session.rewire(&["check"]);
    assert_transcript!(session);
}

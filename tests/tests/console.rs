//! The web console in a real browser, before a real gateway under traffic.

use std::collections::BTreeSet;

use rewire_tests::documents::{dead_end, two_vpcs};
use rewire_tests::{Browser, Lab, tcp_pair};
use rustix::process::Signal;
use serde_json::json;

const CONSOLE: &str = "http://127.0.0.1:9475";
const VIEWS: [&str; 7] = [
    "overview",
    "interfaces",
    "drops",
    "connections",
    "revisions",
    "graph",
    "trace?packet=10.1.0.10:40000+%3E+198.51.100.1:443+tcp+syn",
];

/// Whether a text stands somewhere on the page.
fn says(text: &str) -> String {
    format!("document.body.innerText.includes({text:?})")
}

/// The cells of the row of the first table with this caption that begins with a word, as their texts; null where there is none.
fn row(caption: &str, first: &str) -> String {
    format!(
        "[...document.querySelectorAll('table')].filter((table) => table.caption.textContent === {caption:?})
            .flatMap((table) => [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent)))
            .find((cells) => cells[0] === {first:?})"
    )
}

/// Texts that are not told well enough from what they stand on (WCAG 2.2, 1.4.3), with their contrast; and fields without a label.
const FAULTS: &str = r#"(() => {
    const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => [r, g, b].map((value) => {
        const part = value / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    }).reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const behind = (node) => {
        for (let at = node; at; at = at.parentElement) {
            const colour = channels(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const faults = [];
    for (const node of document.querySelectorAll("body *")) {
        const isText = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
        if (!isText || !node.checkVisibility()) continue;
        const pair = [luminance(channels(getComputedStyle(node).color)), luminance(behind(node))].sort((a, b) => b - a);
        const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
        if (contrast < 4.5) faults.push(`${node.tagName}.${node.className} "${node.textContent.trim().slice(0, 20)}": ${contrast.toFixed(2)}`);
    }
    for (const field of document.querySelectorAll("input, select")) {
        if (field.labels.length === 0) faults.push(`${field.name}: no label`);
    }
    return faults;
})()"#;

#[test]
fn the_console_shows_a_gateway_under_traffic() {
    let mut document = two_vpcs();
    dead_end(&mut document, "red", "blackhole");
    let Some(mut lab) = Lab::with(&document) else {
        return;
    };
    let Some(mut browser) = Browser::new(&lab.inside) else {
        return;
    };
    let pings = lab.blue.keep_pinging("198.51.100.1");
    let lost = lab.red.keep_pinging("198.51.100.1");
    let mut tcp = tcp_pair(
        &lab.blue,
        "198.51.100.1:80",
        &lab.internet,
        "198.51.100.1:80",
    )
    .expect("TCP goes out");
    tcp.talk(200_000);

    browser.go(&format!("{CONSOLE}/"));
    browser.until(&says("revision 1 live"));
    browser.until(&says("Nothing is wrong."));
    // Rates come with the second answer, and go on.
    browser.until(&format!(
        "!(({})?.[3] ?? '0').startsWith('0')",
        row("Interfaces", "blue0")
    ));
    browser.until(&format!(
        "parseFloat(({})?.[1]) > 0",
        row("What was dropped, by reason", "route blackhole")
    ));
    let size = browser.evaluate("performance.getEntriesByType('resource').filter((one) => !one.name.includes('/api/')).concat(performance.getEntriesByType('navigation')).reduce((sum, one) => sum + one.encodedBodySize, 0)");
    let paint = browser.evaluate("performance.getEntriesByType('paint').map((one) => `${one.name} ${one.startTime.toFixed(0)} ms`).join(', ')");
    println!("the page takes {size} bytes; {paint}");
    assert!(size.as_u64() < Some(150_000), "{size}");

    browser.click("nav a[href='#interfaces']");
    browser.until(&format!(
        "({})?.[2] === 'open'",
        row("Rates of interfaces", "wan0")
    ));
    browser.click("nav a[href='#drops']");
    browser.until(&format!(
        "({})?.[4] === 'The route is a blackhole.'",
        row("Packets dropped, by reason", "route_blackhole")
    ));
    assert_eq!(
        browser.evaluate(&row("Packets dropped, by reason", "no_route")),
        json!(null)
    );
    browser.click("#every-reason");
    browser.until(&row("Packets dropped, by reason", "no_route"));

    // What the fast path does not take goes from node to node.
    browser.click("nav a[href='#graph']");
    browser.until("[...document.querySelectorAll('.edge.busy title')].some((title) => /^rx to ethernet input: \\d/.test(title.textContent))");
    browser.until("document.querySelectorAll('svg.graph .node').length === 20");
    browser.until(&format!(
        "({})?.[3].includes('route ')",
        row("Nodes of the graph", "ingress nat")
    ));

    browser.picture("graph-under-traffic");
    browser.click("nav a[href='#overview']");
    browser.until(&row("Interfaces", "blue0"));
    browser.picture("overview-under-traffic");

    browser.click("nav a[href='#connections']");
    browser.until("document.body.innerText.match(/tcp\\s+established\\s+10\\.1\\.0\\.10:\\d+\\s+198\\.51\\.100\\.1:80/)");
    // What is asked for is what the gateway filters by, and stands in the address.
    browser.evaluate(
        "(() => { const field = document.querySelector('select[name=protocol]'); field.value = 'icmp';
            field.dispatchEvent(new Event('input', { bubbles: true })); })()",
    );
    browser.until("[...document.querySelectorAll('tbody tr')].every((row) => row.cells[1].textContent === 'icmp')");
    assert_eq!(
        browser.evaluate("location.hash"),
        "#connections?protocol=icmp"
    );
    browser.evaluate(
        "(() => { const field = document.querySelector('input[name=address]'); field.value = 'nonsense';
            field.dispatchEvent(new Event('input', { bubbles: true })); })()",
    );
    browser.until("document.querySelector('.problem:not([hidden])')?.textContent");
    // The browser says itself that an answer was not 200.
    let refused = browser.problems();
    assert!(
        refused
            .iter()
            .all(|problem| problem.contains("status of 400")),
        "{refused:?}"
    );
    browser.go(&format!("{CONSOLE}/#connections?talkers=true"));
    browser.until(&format!(
        "({})?.[1] === 'blue'",
        row("Who opens connections", "10.1.0.10")
    ));

    // A packet is traced over the live tables, and so is its reply. One of a connection goes on with that.
    let traced =
        |text: &str| format!("document.querySelector('pre.diff')?.textContent.includes({text:?})");
    browser.go(&format!(
        "{CONSOLE}/#trace?packet=10.1.0.10:40000+%3E+198.51.100.1:443+tcp+syn&reply=true"
    ));
    browser.until(&traced("under the running gateway, revision 1"));
    browser.until(&traced("ingress_nat"));
    browser.until(&traced("203.0.113.1"));
    browser.until(&traced("in wan0 198.51.100.1:443 > 203.0.113.1:40000 tcp"));
    let from = tcp.client.local_addr().expect("it is connected");
    browser.go(&format!(
        "{CONSOLE}/#trace?packet={from}+%3E+198.51.100.1:80+tcp+ack"
    ));
    browser.until(&traced("established"));

    // A commit is seen as it goes live, with what it has changed.
    browser.go(&format!("{CONSOLE}/#revisions"));
    browser.until(&says("Revision 1"));
    document["vpcs"]["blue"]["description"] = json!("<b>somebody's</b>");
    lab.commit(&document);
    browser.until(&says("revision 2 live"));
    browser.until("document.querySelectorAll('.timeline li').length === 2");
    browser.click("a[href='#revisions/2']");
    browser.until(&says("Revision 2"));
    let diff = "document.querySelector('pre.diff')?.textContent ?? ''";
    browser.until(&format!(
        "({diff}).startsWith('~ vpcs.blue.description: the first tenant -> <b>somebody')"
    ));

    // The ways under two revisions are held against each other: the third one has no way out of blue.
    dead_end(&mut document, "blue", "unreachable");
    lab.commit(&document);
    browser.go(&format!(
        "{CONSOLE}/#trace?packet=10.1.0.10:40000+%3E+198.51.100.1:443+tcp+syn&on=1&against=2"
    ));
    browser.until(&traced("no difference between revision 1 and revision 2"));
    assert_eq!(
        browser.evaluate("document.querySelector('input[name=reply]').disabled"),
        json!(true)
    );
    browser.go(&format!(
        "{CONSOLE}/#trace?packet=10.1.0.10:40000+%3E+198.51.100.1:443+tcp+syn&on=1&against=3"
    ));
    browser.until(&traced("the ways part at route"));

    // Nothing is asked of anybody else, and nothing went wrong.
    let elsewhere = |address: &String| !address.starts_with(CONSOLE);
    let asked: BTreeSet<String> = browser.asked().into_iter().filter(elsewhere).collect();
    assert_eq!(asked, BTreeSet::new());
    assert_eq!(browser.problems(), Vec::<String>::new());

    // A gateway that is gone is said to be, and found again.
    lab.stop_gateway(Signal::TERM);
    browser.until(
        "document.querySelector('#gone:not([hidden])')?.textContent.includes('No answer since')",
    );
    lab.start_gateway();
    browser.until("document.querySelector('#gone').hidden");
    browser.until(&says("revision 3 live"));
    drop((pings, lost));
}

#[test]
fn the_console_can_be_read_by_everybody() {
    let mut document = two_vpcs();
    dead_end(&mut document, "red", "blackhole");
    // A port that is not there is something wrong.
    document["interfaces"]["red0"]["port"] = json!("af_packet:nowhere");
    let Some(lab) = Lab::with(&document) else {
        return;
    };
    let Some(mut browser) = Browser::new(&lab.inside) else {
        return;
    };
    lab.blue.ping("198.51.100.1", "-c 2 -i 0.05").assert_all();
    lab.blue
        .ping("10.2.0.10", "-c 1 -W 1")
        .assert_refused("10.1.0.1", "Unreachable");
    // What is looked at is under traffic, and has a past.
    let _pings = lab.blue.keep_pinging("198.51.100.1");
    let mut tcp = tcp_pair(
        &lab.blue,
        "198.51.100.1:80",
        &lab.internet,
        "198.51.100.1:80",
    )
    .expect("TCP goes out");
    tcp.talk(200_000);
    document["vpcs"]["blue"]["description"] = json!("the first tenant, who has moved");
    lab.commit(&document);
    for scheme in ["light", "dark"] {
        for (width, height) in [(1280, 800), (390, 844)] {
            browser.appear(width, height, scheme);
            for view in VIEWS {
                browser.go("about:blank");
                browser.go(&format!("{CONSOLE}/#{view}"));
                browser.until(
                    "document.querySelector('table, .timeline li, pre.diff')?.checkVisibility()",
                );
                if view == "overview" {
                    browser.until(&says("Interface red0 is down"));
                }
                let name = view.split('?').next().unwrap_or(view);
                let place = format!("{name} {width} {scheme}");
                assert_eq!(browser.evaluate(FAULTS), json!([]), "{place}");
                let wide = browser.evaluate("document.documentElement.scrollWidth");
                assert!(wide.as_u64() <= Some(width.into()), "{place}: {wide}");
                let headings = browser.evaluate("document.querySelectorAll('h1').length");
                assert_eq!(headings, 1, "{place}");
                browser.picture(&place.replace(' ', "-"));
            }
        }
    }
    assert_eq!(browser.problems(), Vec::<String>::new());
}

// The revisions as a time-line, and what each has changed.

import { gateway, ask } from "./gateway.js";
import { element, say, section } from "./elements.js";
import * as text from "./text.js";

export const title = "Revisions";

const PAGE = 50;
const KINDS = { "+": "added", "-": "removed", "~": "changed" };

/** What is said of a revision that is no plain commit. */
function way({ kind, to, of }) {
  if (kind === "rewind") return `rewind to revision ${to}`;
  if (kind === "revert") return `revert of revision ${of}`;
  return "";
}

function rows({ inserted, updated, deleted }) {
  const counts = [[inserted, "+"], [updated, "~"], [deleted, "−"]];
  return counts.filter(([number]) => number > 0).map(([number, sign]) => `${sign}${text.count(number)}`).join(" ");
}

function entry(one) {
  const message = one.message.split("\n")[0] || (way(one) ? `(${way(one)})` : "(no message)");
  return element(
    "li",
    {},
    element(
      "a",
      { href: `#revisions/${one.revision}` },
      element("span", { class: "revision", text: one.revision }),
      element("span", { class: "message", text: message, title: one.message }),
      element("span", { class: "by" }, `${text.moment(one.time)} · ${one.author} · ${rows(one.rows) || "nothing"}`),
    ),
  );
}

function facts(one) {
  const known = [
    ["Author", one.author],
    ["Time", `${text.moment(one.time)} (${text.ago(one.time)})`],
    ["Kind", way(one)],
    ["Tags", one.tags.join(", ")],
    ["Digest", one.digest],
    ["Hash", one.hash],
  ];
  const pairs = known.filter(([, value]) => value);
  return element("dl", { class: "facts" }, ...pairs.flatMap(([name, value]) => [element("dt", { text: name }), element("dd", { text: value })]));
}

function difference(lines) {
  const shown = lines.trimEnd().split("\n").map((line) => element("span", { class: KINDS[line[0]], text: line }));
  return element("pre", { class: "diff", tabindex: "0", "aria-label": "What it changed" }, ...shown);
}

export function open(root) {
  const list = element("ol");
  const more = element("button", { class: "plain", type: "button", text: "Older ones", onclick: () => load(oldest) });
  const foot = element("div", { class: "more", hidden: true }, more);
  const live = element("p");
  const line = section("Time-line", live);
  const empty = element("p", { class: "empty", text: "Nothing is committed yet.", hidden: true });
  line.append(list, empty, foot);
  const detail = section("Revision");
  detail.hidden = true;
  const problem = element("p", { class: "problem", role: "alert", hidden: true });
  root.append(problem, element("div", { class: "timeline" }, line, detail));

  let oldest = null;
  let head = null;
  let chosen = null;
  let closed = false;

  const fail = (error) => {
    say(problem, error.message);
    problem.hidden = closed || gateway.gone !== null;
  };

  async function load(before) {
    try {
      const found = await ask("revisions", before === null ? { most: PAGE } : { most: PAGE, before });
      const entries = found.revisions.map(entry);
      if (before === null) list.replaceChildren(...entries);
      else list.append(...entries);
      const last = found.revisions.at(-1);
      oldest = last?.revision ?? null;
      empty.hidden = list.children.length > 0;
      foot.hidden = found.revisions.length < PAGE || oldest === 1;
      problem.hidden = true;
      mark();
    } catch (error) {
      head = null;
      fail(error);
    }
  }

  function mark() {
    for (const link of list.querySelectorAll("a")) {
      if (chosen !== null && link.hash === `#revisions/${chosen}`) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  async function show(revision, isAsked) {
    chosen = revision;
    mark();
    try {
      const one = await ask(`revisions/${encodeURIComponent(revision)}`);
      if (closed || chosen !== revision) return;
      const head = element("div", { class: "head" }, element("h2", { text: `Revision ${one.revision}` }));
      const parts = [head];
      if (one.message.trim()) parts.push(element("p", { class: "said", text: one.message.trim() }));
      parts.push(facts(one));
      if (one.text) parts.push(difference(one.text));
      else parts.push(element("p", { class: "empty", text: "It changed nothing." }));
      if (one.left_out > 0) parts.push(element("p", { class: "empty", text: `… and ${text.count(one.left_out)} more rows: rewire show revision ${one.revision}` }));
      detail.replaceChildren(...parts);
      detail.hidden = false;
      problem.hidden = true;
      // On a phone the revision stands below the time-line.
      if (isAsked && matchMedia("(max-width: 1000px)").matches) detail.scrollIntoView({ block: "start" });
    } catch (error) {
      if (chosen !== revision) return;
      detail.hidden = true;
      fail(error);
    }
  }

  return {
    go([revision]) {
      if (revision && revision !== chosen) show(revision, true);
    },
    update() {
      const { status } = gateway;
      if (!status) return;
      if (status.head !== head) {
        head = status.head;
        load(null);
        if (chosen === null && head > 0) show(String(head), false);
      }
      const times = status.last_live && Object.entries(status.last_live.steps).map(([step, time]) => `${step.replace("_ns", "")} ${text.milliseconds(time)}`);
      say(live, times?.length > 0 ? `revision ${status.last_live.revision} live: ${times.join(" · ")}` : "");
    },
    close() {
      closed = true;
    },
  };
}

// The first page: what is wrong, the rates, interfaces, drops, the last revisions.

import { gateway, ask, busy, dropRate } from "./gateway.js";
import { element, say, section, Table } from "./elements.js";
import { Spark } from "./chart.js";
import * as text from "./text.js";
import { columns as interfaceColumns } from "./interfaces.js";

export const title = "Overview";

/** What a person should know of, the worst first: [kind, text]. */
export function wrong(status) {
  const found = [];
  const add = (kind, what) => found.push([kind, what]);
  if (status.alarm) add("alarm", status.alarm);
  if (status.stuck && !status.alarm) add("alarm", "A worker is stuck: the tables cannot be published.");
  for (const one of status.interfaces.filter((one) => !one.open)) {
    add("alarm", `Interface ${one.name} is down: port ${one.port}: ${one.problem}`);
  }
  for (const one of status.interfaces.filter((one) => one.open && one.link === false)) {
    add("warning", `Interface ${one.name}: port ${one.port} has no link.`);
  }
  const { confirmation } = status;
  if (confirmation) {
    const { revision, author, back_to, deadline } = confirmation;
    add("warning", `Revision ${revision} of ${author} goes back to revision ${back_to} at ${text.moment(deadline)}, unless it is confirmed.`);
  }
  for (const one of status.scheduled.filter((one) => one.refused)) {
    add("warning", `Scheduled commit ${one.number} of ${one.author} was refused: ${one.refused}`);
  }
  for (const source of status.route_sources.filter((source) => !source.connected)) {
    add("warning", `Route source ${source.name}: its routing daemon is not connected.`);
  }
  for (const one of status.interfaces.filter((one) => one.no_offload)) {
    add("note", `Interface ${one.name}: its flows stay in software: ${one.no_offload}`);
  }
  if (status.lock) add("note", `Locked by ${status.lock.holder} since ${text.moment(status.lock.since)}.`);
  for (const one of status.scheduled.filter((one) => !one.refused)) {
    add("note", `Scheduled commit ${one.number} of ${one.author} at ${text.moment(one.at)}.`);
  }
  return found;
}

function figure(name, kind) {
  const value = element("div", { class: "value" }, "–");
  const more = element("div", { class: "more" }, "\u00a0");
  const spark = new Spark(kind);
  const node = element("div", { class: "figure" }, element("h2", { text: name }), value, more, spark.node);
  return {
    node,
    show(headline, below, values, top) {
      const [number, unit] = text.parts(headline);
      if (value.textContent !== headline) value.replaceChildren(number, element("small", { text: ` ${unit}` }));
      say(more, below);
      spark.show(values, top);
    },
  };
}

export function open(root) {
  const state = section("State");
  const list = element("ul", { class: "wrong" });
  const fine = element("p", { class: "fine" });
  state.firstChild.append(fine);
  state.append(list);
  const figures = {
    received: figure("Received", "in"),
    transmitted: figure("Transmitted", "out"),
    dropped: figure("Dropped", "drop"),
    connections: figure("Connections", "plain"),
    made: figure("New connections", "plain"),
    workers: figure("Workers busy", "plain"),
  };
  const interfaces = new Table({
    caption: "Interfaces",
    columns: interfaceColumns(),
    key: (one) => one.name,
    empty: "No interfaces: nothing is configured.",
  });
  const drops = new Table({
    caption: "What was dropped, by reason",
    columns: [
      { title: "Reason", cell: (drop) => text.words(drop.reason) },
      { title: "Now", kind: "number", cell: (drop) => text.packets(dropRate(drop.reason)) },
      { title: "Packets", kind: "number", cell: (drop) => text.count(drop.packets) },
    ],
    key: (drop) => drop.reason,
    empty: "Nothing was dropped since the gateway started.",
  });
  const revisions = new Table({
    caption: "The last revisions",
    columns: [
      {
        title: "Revision",
        cell: (one, cell) => {
          const link = element("a", { href: `#revisions/${one.revision}`, text: one.revision });
          if (!cell.firstChild) cell.append(link);
        },
      },
      { title: "When", cell: (one) => text.ago(one.time) },
      { title: "Author", cell: (one) => one.author },
      { title: "Message", kind: "wide", cell: (one) => one.message.split("\n")[0] || `(${one.kind})` },
    ],
    key: (one) => one.revision,
    empty: "Nothing is committed yet.",
  });
  const part = (name, hash, table) => {
    const made = section(name, element("a", { href: hash, text: "All" }));
    made.append(table.node);
    return made;
  };
  root.append(
    state,
    element("div", { class: "figures" }, ...Object.values(figures).map((one) => one.node)),
    part("Interfaces", "#interfaces", interfaces),
    element("div", { class: "pair" }, part("Drops", "#drops", drops), part("Last revisions", "#revisions", revisions)),
  );

  const shown = [];
  let head = null;
  let last = [];
  async function lookAtRevisions(status) {
    if (status.head === head) return;
    head = status.head;
    try {
      last = (await ask("revisions", { most: 6 })).revisions;
      revisions.show(last);
    } catch {
      head = null;
    }
  }

  return {
    update() {
      const { status, recent } = gateway;
      if (!status) return;
      const found = wrong(status);
      const serious = found.filter(([kind]) => kind !== "note").length;
      say(fine, serious === 0 ? "Nothing is wrong." : "");
      const key = JSON.stringify(found);
      if (list.dataset.key !== key) {
        list.dataset.key = key;
        list.replaceChildren(...found.map(([kind, what]) => element("li", { class: kind, text: what })));
        list.hidden = found.length === 0;
      }
      const at = (column) => column.at(-1) ?? 0;
      const { received, transmitted } = recent;
      figures.received.show(text.bits(at(received.bytes)), text.packets(at(received.packets)), received.bytes);
      figures.transmitted.show(text.bits(at(transmitted.bytes)), text.packets(at(transmitted.packets)), transmitted.bytes);
      const share = at(received.packets) > 0 ? (100 * at(recent.dropped)) / at(received.packets) : 0;
      figures.dropped.show(text.packets(at(recent.dropped)), `${share.toFixed(share < 9.95 ? 1 : 0)} % of what comes in`, recent.dropped);
      const { connections } = status;
      figures.connections.show(`${text.count(connections.now)} now`, text.plural(connections.mappings, "NAT mapping"), recent.connections);
      figures.made.show(text.rate(at(recent.connections_created)), `${text.count(connections.created)} made, ${text.count(connections.expired)} timed out`, recent.connections_created);
      const shares = busy().filter((share) => share !== null);
      const percent = (share) => `${(100 * share).toFixed(0)} %`;
      if (shares.length > 0) {
        shown.push(Math.max(...shares));
        if (shown.length > 600) shown.shift();
      }
      const most = shares.length > 0 ? percent(shown.at(-1)) : "– %";
      figures.workers.show(`${most} at most`, shares.map(percent).join(" · ") || text.plural(status.workers, "worker"), shown, 1);
      interfaces.show(status.interfaces);
      const dropped = status.drops.filter((drop) => drop.packets > 0);
      dropped.sort((a, b) => dropRate(b.reason) - dropRate(a.reason) || b.packets - a.packets);
      drops.show(dropped.slice(0, 8));
      lookAtRevisions(status);
      if (last.length > 0) revisions.show(last);
    },
  };
}

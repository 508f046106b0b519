// Interfaces with their rates.

import { gateway, interfaceRate } from "./gateway.js";
import { element, look, section, Table } from "./elements.js";
import { trend } from "./chart.js";
import * as text from "./text.js";

export const title = "Interfaces";

const recent = (one) => gateway.recent?.interfaces[one.name];
const rateColumn = (name, counter, write, kind = "number") => ({
  title: name,
  kind,
  cell: (one) => (one.counters ? write(interfaceRate(one.name, counter)) : "–"),
});
const counterColumn = (name, counter, write) => ({
  title: name,
  kind: "number",
  cell: (one) => (one.counters ? write(one.counters[counter]) : "–"),
});

/** Columns that both this view and the overview have. */
export function columns() {
  return [
    { title: "Interface", cell: (one) => one.name },
    { title: "Port", kind: "less", cell: (one) => one.port },
    {
      title: "State",
      cell(one, cell) {
        look(cell, one.open && one.link !== false ? "up" : "down");
        if (!one.open) return "DOWN";
        return one.link === false ? "no link" : "open";
      },
    },
    rateColumn("Received", "received_bytes", text.bits),
    rateColumn("", "received_packets", text.packets, "number less"),
    trend("Last 10 min", "in", (one) => recent(one)?.received.bytes),
    rateColumn("Transmitted", "transmitted_bytes", text.bits),
    rateColumn("", "transmitted_packets", text.packets, "number less"),
    trend("Last 10 min", "out", (one) => recent(one)?.transmitted.bytes),
    rateColumn("Dropped", "dropped_packets", text.packets),
  ];
}

export function open(root) {
  const key = (one) => one.name;
  const empty = "No interfaces: nothing is configured.";
  const rates = new Table({ caption: "Rates of interfaces", columns: columns(), key, empty });
  const totals = new Table({
    caption: "What interfaces have counted since the gateway started",
    columns: [
      { title: "Interface", cell: (one) => one.name },
      counterColumn("Received packets", "received_packets", text.count),
      counterColumn("Bytes", "received_bytes", text.bytes),
      counterColumn("Transmitted packets", "transmitted_packets", text.count),
      counterColumn("Bytes", "transmitted_bytes", text.bytes),
      counterColumn("Dropped packets", "dropped_packets", text.count),
      { title: "Offload", cell: (one) => (one.offload ? (one.no_offload ? `no: ${one.no_offload}` : "yes") : "not asked for") },
    ],
    key,
    empty,
  });
  const now = section("Now", element("p", { text: "Bytes include Ethernet headers." }));
  now.append(rates.node);
  const since = section("Since the gateway started");
  since.append(totals.node);
  const problems = element("ul", { class: "wrong" });
  now.append(problems);
  root.append(now, since);
  return {
    update() {
      const { status } = gateway;
      if (!status) return;
      rates.show(status.interfaces);
      totals.show(status.interfaces);
      const down = status.interfaces.filter((one) => one.problem);
      const words = down.map((one) => `${one.name}: port ${one.port}: ${one.problem}`);
      if (problems.dataset.key !== words.join("\n")) {
        problems.dataset.key = words.join("\n");
        problems.replaceChildren(...words.map((problem) => element("li", { text: problem })));
      }
      problems.hidden = words.length === 0;
    },
  };
}

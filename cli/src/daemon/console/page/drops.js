// Why packets were dropped, what each reason means, and how often it is the case.

import { gateway, dropRate } from "./gateway.js";
import { element, look, section, Table } from "./elements.js";
import { trend } from "./chart.js";
import * as text from "./text.js";

export const title = "Drops";

export function open(root) {
  let every = false;
  const choice = element("input", {
    type: "checkbox",
    id: "every-reason",
    onchange: (event) => {
      every = event.target.checked;
      update();
    },
  });
  const table = new Table({
    caption: "Packets dropped, by reason",
    columns: [
      {
        title: "Reason",
        cell(drop, cell) {
          look(cell, drop.packets > 0 ? "" : "zero");
          return drop.reason;
        },
      },
      {
        title: "Now",
        kind: "number",
        cell(drop, cell) {
          const rate = dropRate(drop.reason);
          look(cell, rate > 0 ? "number" : "number zero");
          return text.packets(rate);
        },
      },
      trend("Last 10 min", "drop", (drop) => gateway.recent?.drops[drop.reason]),
      { title: "Packets", kind: "number", cell: (drop) => text.count(drop.packets) },
      { title: "What it means", kind: "wide", cell: (drop) => drop.description },
    ],
    key: (drop) => drop.reason,
    empty: "Nothing was dropped since the gateway started.",
  });
  const account = element("p");
  const made = section("Drops by reason", account);
  made.firstChild.append(element("label", { for: "every-reason" }, choice, " every reason"));
  made.append(table.node);
  root.append(made);

  function update() {
    const { status } = gateway;
    if (!status) return;
    const p = status.packets;
    account.textContent =
      `${text.count(p.received)} received + ${text.count(p.generated)} generated = ${text.count(p.transmitted)} transmitted + ` +
      `${text.count(p.dropped)} dropped + ${text.count(p.consumed)} consumed + ${text.count(p.held)} held`;
    const shown = status.drops.filter((drop) => every || drop.packets > 0);
    table.show(shown.sort((a, b) => b.packets - a.packets));
  }
  return { update };
}

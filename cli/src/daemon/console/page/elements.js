// Elements, and tables whose rows stay the same elements while their numbers change: so that nothing jumps, and what somebody
// has selected stays selected.

/** An element with attributes and children; `class` and `text` for short. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Sets a text where it is another one. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets an element's classes where they are others. */
export function look(node, names) {
  if (node.className !== names) node.className = names;
}

/** A section with a heading; what comes beside the heading follows. */
export function section(title, ...beside) {
  return element("section", { "aria-label": title }, element("div", { class: "head" }, element("h2", { text: title }), ...beside));
}

/**
 * A table. A column has a `title`, and `cell(row, td)`, which returns a text or fills the cell itself; `kind` is its class, and
 * the first column heads its row. `key(row)` says which row it is, and `empty` what is said where there is none.
 */
export class Table {
  constructor({ caption, columns, key, empty }) {
    this.columns = columns;
    this.key = key;
    this.rows = new Map();
    this.body = element("tbody");
    const titles = columns.map((column) => element("th", { scope: "col", class: column.kind }, column.title));
    this.table = element(
      "table",
      {},
      element("caption", { text: caption }),
      element("thead", {}, element("tr", {}, ...titles)),
      this.body,
    );
    this.scroll = element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, this.table);
    this.empty = element("p", { class: "empty", text: empty });
    // Nothing is said of what is not known yet.
    this.scroll.hidden = true;
    this.empty.hidden = true;
    this.node = element("div", {}, this.scroll, this.empty);
  }

  show(rows) {
    this.scroll.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
    const left = new Set(this.rows.keys());
    let place = this.body.firstChild;
    for (const row of rows) {
      const key = this.key(row);
      left.delete(key);
      let shown = this.rows.get(key);
      if (!shown) {
        shown = this.makeRow();
        this.rows.set(key, shown);
      }
      if (shown === place) place = place.nextSibling;
      else this.body.insertBefore(shown, place);
      this.columns.forEach((column, index) => {
        const cell = shown.children[index];
        const text = column.cell(row, cell);
        if (text !== undefined) say(cell, text);
      });
    }
    for (const key of left) {
      this.rows.get(key).remove();
      this.rows.delete(key);
    }
  }

  makeRow() {
    const cells = this.columns.map(({ kind }, index) => {
      return index === 0 ? element("th", { scope: "row", class: kind }) : element("td", { class: kind });
    });
    return element("tr", {}, ...cells);
  }
}

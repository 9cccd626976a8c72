// Tables sort, filter, turn pages and download; a choice of class shows its charts. Nothing here leaves the page.
"use strict";
(() => {
  const THIN = "\u202f";
  const MINUS = "\u2212";
  const NOTHING = "\u2013";

  // ---- numbers, by the rules of wsiparse/report/words.py

  const grouped = (digits) => {
    const [whole, rest] = digits.replace("-", "").split(".");
    const sign = digits.startsWith("-") ? MINUS : "";
    return sign + whole.replace(/\B(?=(\d{3})+$)/g, THIN) + (rest === undefined ? "" : "." + rest);
  };

  const significant = (value) => {
    if (value === null) return NOTHING;
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size < 1e-4 || size >= 1e15) return value.toExponential(2).replaceAll("-", MINUS).replace("+", "");
    const text = value.toPrecision(3);
    return grouped(text.includes("e") ? String(Number(text)) : text);
  };

  const written = {
    text: (value) => value ?? "",
    count: (value) => (value === null ? NOTHING : grouped(String(value))),
    number: significant,
  };

  // units behind a number, as words.py has it
  const micro = (text) =>
    text.replace(/(\d) um(2?)\b/g, (_, digit, squared) => `${digit} µm${squared ? "²" : ""}`).replace(/\bmm2\b/g, "mm²");

  // ---- CSV

  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

  // no spreadsheet shall take a name for a formula
  const safe = (text) => (/^[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/.test(text) ? "'" + text : text);

  const field = (value) =>
    value === null ? "" : typeof value === "number" ? String(value) : quoted(safe(value));

  const save = (name, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };

  // ---- tables

  const column = (packed) => {
    if (Array.isArray(packed)) return { of: (i) => packed[i], order: (i) => packed[i] };
    const { words, at } = packed;
    const compare = new Intl.Collator("en", { numeric: true }).compare;
    let rank = null;
    const ranks = () => {
      rank = new Array(words.length);
      words.map((_, k) => k).sort((a, b) => compare(words[a], words[b])).forEach((k, place) => { rank[k] = place; });
      return rank;
    };
    // names are compared once each; rows by the place of their name
    return { words, of: (i) => words[at[i]], order: (i) => (words[at[i]] === "" ? null : (rank ?? ranks())[at[i]]) };
  };

  class Table {
    constructor(root) {
      this.root = root;
      this.data = JSON.parse(root.querySelector("script").textContent);
      this.body = root.querySelector("tbody");
      this.heads = [...root.querySelectorAll("thead th")];
      this.status = root.querySelector(".status");
      this.values = Object.fromEntries(Object.entries(this.data.values).map(([k, v]) => [k, column(v)]));
      this.made = [...this.body.querySelectorAll("tr[data-row]")];
      this.none = root.querySelector(".none");
      this.order = Array.from({ length: this.data.n }, (_, i) => i);
      this.chosen = this.order;
      this.start = 0;
      this.sorted = "";
      this.heads.forEach((head, k) => this.#button(head, k));
      root.querySelectorAll("[data-filter]").forEach((control) => {
        if (control.tagName === "SELECT") this.#options(control);
        control.addEventListener("input", () => this.#filter());
      });
      root.querySelector(".download").addEventListener("click", () => save(this.data.file, this.csv()));
      root.querySelectorAll("[data-turn]").forEach((button) =>
        button.addEventListener("click", () => {
          this.start += Number(button.dataset.turn) * this.data.first;
          this.show();
        }),
      );
      root.querySelectorAll("[hidden].tools").forEach((part) => { part.hidden = false; });
      this.#filter();
    }

    #button(head, k) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => this.sort(k, head.getAttribute("aria-sort") !== "ascending"));
    }

    #options(select) {
      const { words } = this.values[select.dataset.filter];
      const { signs } = this.data.columns.find((c) => c.key === select.dataset.filter) ?? { signs: false };
      (words ?? []).forEach((word) => select.append(new Option(signs ? micro(word) : word, word)));
    }

    #filter() {
      const tests = [...this.root.querySelectorAll("[data-filter]")].filter((c) => c.value !== "").map((control) => {
        const values = this.values[control.dataset.filter];
        if (control.tagName === "SELECT") return (i) => values.of(i) === control.value;
        const part = control.value.toLocaleLowerCase();
        const fits = new Set(values.words.filter((word) => word.toLocaleLowerCase().includes(part)));
        return (i) => fits.has(values.of(i));
      });
      this.chosen = this.order.filter((i) => tests.every((test) => test(i)));
      this.start = 0;
      this.show();
    }

    sort(k, upwards) {
      const { key, label } = this.data.columns[k];
      const { order } = this.values[key];
      const sign = upwards ? 1 : -1;
      const keys = Array.from({ length: this.data.n }, (_, i) => order(i));
      // what is not known stays at the end; rows that are alike stay in the order of the file
      this.order = this.order.slice().sort((a, b) => {
        const p = keys[a];
        const q = keys[b];
        if (p === null || q === null) return (p === null) - (q === null) || a - b;
        return sign * (p - q) || a - b;
      });
      this.heads.forEach((head, i) => head.setAttribute("aria-sort", i !== k ? "none" : upwards ? "ascending" : "descending"));
      this.sorted = `, sorted by ${label}, ${upwards ? "lowest" : "highest"} first`;
      this.#filter();
    }

    show() {
      const size = this.data.first || this.data.n;
      this.body.replaceChildren(...this.chosen.slice(this.start, this.start + size).map((i) => (this.made[i] ??= this.#row(i))));
      const last = Math.min(this.start + size, this.chosen.length);
      this.none.hidden = this.chosen.length > 0;
      const part = this.start > 0 || last < this.chosen.length ? `Rows ${grouped(String(this.start + 1))} to ${grouped(String(last))} of ` : "";
      const left = this.chosen.length < this.data.n ? ` of ${grouped(String(this.data.n))}` : "";
      this.status.textContent = `${part}${grouped(String(this.chosen.length))}${left} rows${this.sorted}`;
      this.root.querySelectorAll("[data-turn]").forEach((button) => {
        button.disabled = Number(button.dataset.turn) < 0 ? this.start === 0 : last >= this.chosen.length;
      });
    }

    #row(i) {
      const row = document.createElement("tr");
      row.dataset.row = i;
      this.data.columns.forEach((c, k) => row.append(this.#cell(c, i, k === 0)));
      return row;
    }

    #cell(c, i, first) {
      const cell = document.createElement(first ? "th" : "td");
      if (first) cell.scope = "row";
      const value = this.values[c.key].of(i);
      if (c.kind !== "text") cell.className = "number";
      const upper = c.upper ? this.values[c.upper].of(i) : null;
      const text = c.kind !== "interval" ? written[c.kind](value)
        : value === null || upper === null ? NOTHING : `${significant(value)} to ${significant(upper)}`;
      if (c.kind !== "text") {
        cell.append(text);
        const note = value === null && c.note ? this.data.notes.indexOf(this.values[c.note].of(i)) : -1;
        if (note >= 0) {
          const mark = document.createElement("sup");
          mark.textContent = note + 1;
          cell.append(mark);
        }
        return cell;
      }
      if (Object.hasOwn(c.colours, text)) {
        const swatch = document.createElement("span");
        swatch.className = "swatch";
        swatch.style.background = c.colours[text];
        cell.append(swatch);
      }
      let holder = cell;
      if (Object.hasOwn(c.links, text)) {
        holder = document.createElement("a");
        holder.href = c.links[text];
        cell.append(holder);
      }
      const name = document.createElement("bdi");
      name.textContent = c.signs ? micro(text) : text;
      holder.append(name);
      return cell;
    }

    csv() {
      const { fields, n } = this.data;
      const columns = fields.map((name) => this.values[name].of);
      const lines = [fields.map(quoted).join(",")];
      for (let i = 0; i < n; i += 1) lines.push(columns.map((of) => field(of(i))).join(","));
      return lines.join("\n") + "\n";
    }
  }

  document.querySelectorAll("[data-table]").forEach((root) => new Table(root));

  // ---- one class at a time

  document.querySelectorAll("select[data-panels]").forEach((select) => {
    const panels = [...document.querySelectorAll(`[data-panel="${select.dataset.panels}"]`)];
    const show = () => panels.forEach((panel, k) => { panel.hidden = String(k) !== select.value; });
    select.addEventListener("input", show);
    select.closest("[hidden]").hidden = false;
    show();
  });
})();

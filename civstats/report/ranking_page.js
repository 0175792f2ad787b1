// The interactive ranking: sort, search, filter, page and download, with nothing but the browser.
(() => {
  "use strict";
  const DECIMALS = { integer: 0, number: 1, money: 2, share: 0, percent: 1 };
  const PRINTED = 50;
  const LEVELS = 250; // a sparkline's byte: 0 to 250 is a height,
  const OUT = 254; //    254 a day out of stock, above it nothing known

  const make = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node.append(...children), node;
  };
  // Text goes in as text nodes and attributes only: no name is ever read as HTML.
  const el = (tag, attributes = {}, ...children) =>
    make(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) =>
    make(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  const formatters = Object.fromEntries(
    Object.entries(DECIMALS).map(([kind, digits]) => [
      kind,
      new Intl.NumberFormat("en-US", {
        minimumFractionDigits: digits,
        maximumFractionDigits: digits,
        roundingMode: "halfEven",
      }),
    ]),
  );
  const written = (value, kind) => {
    if (typeof value !== "number") return value === null ? (kind === "text" ? "–" : "undefined") : value;
    if (kind === "text") return String(value);
    const percent = kind === "share" || kind === "percent";
    const text = formatters[kind].format(percent ? 100 * value : value);
    return (/[1-9]/.test(text) ? text.replace("-", "\u2212") : text.replace("-", "")) + (percent ? "\u00a0%" : "");
  };
  const plain = (text) => String(text).normalize("NFKC").toLowerCase();

  function start(root) {
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const find = (part) => root.querySelector(`[data-part="${part}"]`);
    const columns = new Map(data.columns.map((column) => [column.name, column]));
    const table = root.querySelector("table");
    const [search, size, status, page] = ["search", "size", "status", "page"].map(find);
    const filters = [...root.querySelectorAll("select[data-filter]")];
    const natural = new Intl.Collator("en", { numeric: true });
    const keys = new Map();
    const fresh = () => ({ words: "", sort: data.sort, down: data.down, page: 1, size: data.size, chosen: {} });
    let state = fresh();
    let order, matching, haystack;

    // ---- order: text is ranked once, so that every sort compares numbers ----
    function keyOf(column) {
      if (!keys.has(column)) {
        let key = column.values;
        if (column.kind === "text") {
          const words = [...new Set(key)].filter((x) => x !== null).map(String);
          words.sort(natural.compare);
          const place = new Map();
          words.forEach((word, k) => {
            const tied = k && natural.compare(words[k - 1], word) === 0;
            place.set(word, tied ? place.get(words[k - 1]) : k);
          });
          key = key.map((x) => (x === null ? null : place.get(String(x))));
        }
        keys.set(column, key);
      }
      return keys.get(column);
    }
    // Ties keep the order they had, so one sort after another sorts by both; missing comes last.
    function sort() {
      const key = keyOf(columns.get(state.sort));
      const sign = state.down ? -1 : 1;
      order.sort((a, b) => {
        if (key[a] === null || key[b] === null) return (key[a] === null) - (key[b] === null);
        return sign * (key[a] - key[b]);
      });
    }
    function match() {
      const words = plain(state.words).split(/\s+/).filter(Boolean);
      const wanted = Object.entries(state.chosen).map(([name, value]) => [columns.get(name).values, value]);
      if (words.length && !haystack) {
        const texts = data.columns.filter((column) => column.kind === "text");
        haystack = order.map((_, i) => plain(texts.map((t) => t.values[i] ?? "").join("\n")));
      }
      matching = order.filter(
        (i) =>
          wanted.every(([values, value]) => String(values[i] ?? "") === value) &&
          words.every((word) => haystack[i].includes(word)),
      );
    }

    const shown = data.shown.map((name) => columns.get(name) ?? { name, kind: name, label: data.labels[name] });
    const sortBy = (column) => (column.kind === "interval" ? data.interval[2] : column.name);

    function interval(i, scale) {
      const [mid, lo, hi] = data.interval.map((name) => columns.get(name).values[i]);
      if (lo === null || hi === null) return ["undefined"];
      const x = (value) => 2 + (116 * (value - scale[0])) / (scale[1] - scale[0] || 1);
      const bar = { class: "rp-bar", x: x(lo), y: 4, width: Math.max(x(hi) - x(lo), 1), height: 6 };
      const picture = svg("svg", { viewBox: "0 0 120 14", width: 120, height: 14, "aria-hidden": "true" });
      picture.append(svg("path", { class: "rp-zero", d: `M${x(0)} 0V14` }), svg("rect", bar));
      if (mid !== null) picture.append(svg("circle", { class: "rp-dot", cx: x(mid), cy: 7, r: 3 }));
      return [picture, el("small", {}, `${written(lo, "money")} to ${written(hi, "money")}`)];
    }
    function spark(i) {
      const { rows, top, history, days } = data.spark;
      if (rows[i] === null) return ["–"];
      const bytes = Uint8Array.from(atob(rows[i]), (c) => c.charCodeAt(0));
      const x = (t) => 1 + (130 * t) / Math.max(history + days - 1, 1);
      const y = (byte) => 26 - (24 * byte) / LEVELS;
      // A line breaks where a day is missing.
      const line = (from, n, shift) => {
        let path = "";
        for (let t = 0, on = false; t < n; t++) {
          const byte = bytes[from + t];
          if (byte <= LEVELS) path += `${on ? "L" : "M"}${x(t + shift).toFixed(1)} ${y(byte).toFixed(1)}`;
          on = byte <= LEVELS;
        }
        return path;
      };
      const picture = svg("svg", { viewBox: "0 0 132 32", width: 132, height: 32, role: "img" });
      const add = (name, d) => d && picture.append(svg("path", { class: name, d }));
      const [lo, hi] = [history + days, history + 2 * days];
      const band = [];
      for (let t = 0; t < days; t++)
        if (bytes[lo + t] <= LEVELS && bytes[hi + t] <= LEVELS) band.push(t);
      const edge = (from, times) => times.map((t) => `${x(history + t).toFixed(1)} ${y(bytes[from + t]).toFixed(1)}`);
      if (band.length) add("rp-band", `M${[...edge(hi, band), ...edge(lo, band.reverse())].join("L")}Z`);
      add("rp-sales", line(0, history, 0));
      add("rp-mean", line(history, days, history));
      const out = [...Array(history).keys()].filter((t) => bytes[t] === OUT);
      add("rp-out", out.map((t) => `M${x(t).toFixed(1)} 28V32`).join(""));
      const means = [...bytes.subarray(history, history + days)].filter((b) => b <= LEVELS);
      const value = (b) => formatters.number.format((b * top[i]) / LEVELS);
      const words = [history ? `${history} days of sales, out of stock on ${out.length}` : ""];
      if (means.length)
        words.push(`forecast from ${value(Math.min(...means))} to ${value(Math.max(...means))} a day`);
      picture.setAttribute("aria-label", words.filter(Boolean).join("; "));
      return [picture];
    }
    // A long name breaks behind its marks, where a reader would, and elsewhere only if it must.
    const broken = (text) =>
      String(text).split(/(?<=[_\-/.])/).flatMap((part, k) => (k ? [el("wbr"), part] : [part]));
    function cell(column, i, scale) {
      if (column.kind === "interval") return el("td", { class: "rp-interval" }, ...interval(i, scale));
      if (column.kind === "spark") return el("td", { class: "rp-spark" }, ...spark(i));
      const text = written(column.values[i], column.kind);
      if (column.name === data.id)
        return el("th", { scope: "row", class: "rp-name" }, el("bdi", { title: text }, ...broken(text)));
      return column.kind === "text" ? el("td", {}, el("bdi", {}, ...broken(text))) : el("td", { class: "n" }, text);
    }

    // ---- what is on the page ----
    function draw() {
      const pages = Math.max(1, Math.ceil(matching.length / state.size));
      state.page = Math.min(Math.max(1, state.page), pages);
      const from = (state.page - 1) * state.size;
      const scale = [0, 0];
      for (const i of data.interval ? matching : [])
        for (const name of data.interval) {
          const value = columns.get(name).values[i] ?? 0;
          if (value < scale[0]) scale[0] = value;
          if (value > scale[1]) scale[1] = value;
        }
      const rows = matching
        .slice(from, from + state.size)
        .map((i) => el("tr", {}, ...shown.map((column) => cell(column, i, scale))));
      if (!rows.length)
        rows.push(el("tr", {}, el("td", { colspan: shown.length }, "No series matches; Reset shows all.")));
      table.tBodies[0].replaceChildren(...rows);
      for (const th of table.tHead.rows[0].cells) {
        const on = th.dataset.sort === state.sort;
        if (on) th.setAttribute("aria-sort", state.down ? "descending" : "ascending");
        else th.removeAttribute("aria-sort");
      }
      const count = (n) => n.toLocaleString("en-US");
      const y = matching.length;
      status.textContent =
        (y ? `Showing ${count(from + 1)} to ${count(from + rows.length)} of ${count(y)}` : "Showing 0") +
        (y < data.n ? ` that match, ${count(data.n)} in all` : "") +
        `; sorted by ${columns.get(state.sort).label}, ${state.down ? "descending" : "ascending"}.`;
      page.textContent = `Page ${count(state.page)} of ${count(pages)}`;
      find("back").setAttribute("aria-disabled", String(state.page === 1));
      find("next").setAttribute("aria-disabled", String(state.page === pages));
    }
    function update(name, page = 1) {
      const start = performance.now();
      state.page = page;
      if (name === "sort") sort();
      if (name !== "page") match();
      draw();
      performance.measure(`ranking:${name}`, { start });
      write();
    }

    // ---- the address: #anchor?q=milk&store_id=CA_1&sort=rank ----
    const linked = () => location.hash.startsWith(`#${root.id}?`);
    function write() {
      const usual = fresh();
      const params = new URLSearchParams(Object.entries(state.chosen).map(([name, v]) => [`is.${name}`, v]));
      if (state.words) params.set("q", state.words);
      if (state.sort !== usual.sort || state.down !== usual.down)
        params.set("sort", (state.down ? "-" : "") + state.sort);
      if (state.page > 1) params.set("page", state.page);
      if (state.size !== usual.size) params.set("rows", state.size);
      const text = String(params);
      try {
        if (text || linked()) history.replaceState(null, "", text ? `#${root.id}?${text}` : `#${root.id}`);
      } catch {
        // Where a page may not change its address, the ranking works without.
      }
    }
    function read() {
      const params = new URLSearchParams(location.hash.slice(root.id.length + 2));
      state = fresh();
      state.words = params.get("q") ?? "";
      const by = params.get("sort") ?? (state.down ? "-" : "") + state.sort;
      const down = by.startsWith("-") && !columns.has(by);
      if (columns.has(by.slice(Number(down)))) [state.sort, state.down] = [by.slice(Number(down)), down];
      state.page = Number.parseInt(params.get("page"), 10) || 1;
      const rows = params.get("rows");
      if ([...size.options].some((option) => option.value === rows)) state.size = Number(rows);
      for (const select of filters) {
        const wanted = params.get(`is.${select.dataset.filter}`);
        const at = [...select.options].findIndex((o, k) => k && wanted !== null && o.value === wanted);
        if (at > 0) state.chosen[select.dataset.filter] = wanted;
      }
      show();
    }
    function show() {
      search.value = state.words;
      size.value = state.size;
      for (const select of filters) {
        const value = state.chosen[select.dataset.filter];
        select.selectedIndex = [...select.options].findIndex((o, k) => (value === undefined ? !k : k && o.value === value));
      }
      order = Array.from({ length: data.n }, (_, i) => i);
      if (state.sort !== data.sort || state.down !== data.down) sort();
      match();
      draw();
    }

    // ---- the filtered rows as CSV, written as the study's own files are ----
    function csv() {
      const field = (value) => {
        let text = String(value ?? "");
        if (typeof value === "string" && text && data.risky.includes(text[0])) text = `'${text}`;
        return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
      };
      const line = (cells) => `${cells.join(",")}\n`;
      const rows = matching.map((i) => line(data.columns.map((column) => field(column.values[i]))));
      return line(data.columns.map((column) => field(column.name))) + rows.join("");
    }
    function download() {
      const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv;charset=utf-8" }));
      const link = el("a", { href: url, download: data.file });
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 10000);
    }

    const heads = shown.map((column) => {
      const number = column.kind !== "text" && column.kind !== "spark" ? "n" : "";
      if (column.kind === "spark") return el("th", { scope: "col" }, column.label);
      const th = el("th", { scope: "col", class: number, "data-sort": sortBy(column) });
      const button = el("button", { type: "button" }, column.label, el("span", { "aria-hidden": "true" }));
      button.addEventListener("click", () => {
        const again = state.sort === th.dataset.sort;
        const target = columns.get(th.dataset.sort);
        state.down = again ? !state.down : target.kind !== "text" && target.name !== "rank";
        state.sort = th.dataset.sort;
        update("sort");
      });
      th.append(button);
      return th;
    });
    table.tHead.replaceChildren(el("tr", {}, ...heads));
    const on = (node, event, work) => node.addEventListener(event, work);
    on(search, "input", () => ((state.words = search.value), update("search")));
    on(size, "change", () => ((state.size = Number(size.value)), update("page")));
    for (const select of filters)
      on(select, "change", () => {
        if (select.selectedIndex) state.chosen[select.dataset.filter] = select.value;
        else delete state.chosen[select.dataset.filter];
        update("filter");
      });
    const turn = (step) => find(step < 0 ? "back" : "next").ariaDisabled !== "true" && update("page", state.page + step);
    on(find("back"), "click", () => turn(-1));
    on(find("next"), "click", () => turn(1));
    on(find("reset"), "click", () => ((state = fresh()), show(), write()));
    on(find("download"), "click", download);
    let kept = null;
    on(window, "beforeprint", () => ((kept ??= state), (state = { ...state, page: 1, size: PRINTED }), draw()));
    on(window, "afterprint", () => ((state = kept ?? state), (kept = null), draw()));
    on(window, "hashchange", () => linked() && (read(), root.scrollIntoView()));
    const opened = performance.now();
    read();
    performance.measure("ranking:open", { start: opened });
    root.classList.add("rp-on");
    if (linked()) root.scrollIntoView();
  }

  for (const root of document.querySelectorAll("[data-ranking]:not(.rp-on)")) start(root);
})();

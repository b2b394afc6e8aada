(() => {
  "use strict";
  const $ = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const root = document.documentElement;

  // ---- light and dark
  const system = matchMedia("(prefers-color-scheme: dark)");
  const toggle = $("#theme");
  const isDark = () => root.dataset.theme === "dark" || (root.dataset.theme !== "light" && system.matches);
  const shown = () => {
    root.classList.toggle("dark", isDark()); // what DataTables' style sheet looks at
    toggle.textContent = isDark() ? "Light" : "Dark";
    toggle.setAttribute("aria-pressed", String(isDark()));
    toggle.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  };
  toggle.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("lmm-theme", root.dataset.theme); } catch { /* no storage: the choice lasts as long as the page */ }
    shown();
  });
  system.addEventListener("change", shown);
  shown();

  // ---- tables
  const DataTable = globalThis.lmmDataTable;
  const grouping = (decimals) => ({ useGrouping: decimals === 0 ? "always" : "min2" }); // 2010 may be a year, a count is none
  const fixed = (value, decimals) => value === null || value === "" ? "–"
    : Number(value).toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals, ...grouping(decimals) }).replace("-", "−");
  const save = (name, text) => {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
    link.click();
    URL.revokeObjectURL(link.href);
  };
  const quoted = (text) => /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  const csvOf = (table) => all("tr", table)
    .map((row) => all("th, td", row).map((cell) => quoted(cell.dataset.order ?? cell.textContent)).join(",")).join("\n") + "\n";

  const made = [];
  for (const box of all(".table")) {
    const table = $("table", box), name = `${box.dataset.key}.csv`;
    if (box.classList.contains("paper")) continue; // links to files of its own
    if (!table.classList.contains("interactive")) {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "quiet csv", textContent: "CSV" });
      const about = $("caption", table).textContent;
      button.setAttribute("aria-label", `CSV of: ${about}`);
      button.addEventListener("click", () => save(name, csvOf(table)));
      $("caption .about", table).append(" ", button);
      continue;
    }
    const label = $("caption", table).textContent, rows = $("script.rows", box);
    const options = {
      order: [], pageLength: 10, lengthMenu: [10, 25, 100, { label: "all", value: -1 }], deferRender: true, autoWidth: false,
      layout: { topStart: { buttons: [{ extend: "csvHtml5", text: "CSV", filename: name.replace(/\.csv$/, ""), title: null,
        exportOptions: { orthogonal: "sort", ...(rows && { stripHtml: false, decodeEntities: false }) } }] }, topEnd: "search", bottomStart: "info", bottomEnd: ["pageLength", "paging"] },
      language: { search: "Filter:", lengthMenu: "Rows _MENU_" },
    };
    if (rows) {
      options.data = JSON.parse(rows.textContent);
      options.columns = all("thead tr > *", table).map((head) => head.dataset.decimals === undefined ? { render: DataTable.render.text() }
        : { className: "n", render: (value, type) => type === "display" ? fixed(value, +head.dataset.decimals) : value });
    }
    new DataTable(table, options);
    made.push([box, new DataTable.Api(table)]);
    table.setAttribute("aria-label", label);
    const pages = $("nav", box);
    if (pages) pages.setAttribute("aria-label", `Pages of: ${label} (${box.dataset.key})`);
  }

  // ---- on paper a table has all its rows, up to a limit, and says what is beyond it
  const PAPER_ROWS = 300, PAPER_GROUPS = 40;
  const most = (box) => $("table[data-groups]", box) ? PAPER_GROUPS : PAPER_ROWS;
  addEventListener("beforeprint", () => made.forEach(([box, dt]) => {
    const total = dt.page.info().recordsDisplay;
    box.dataset.rows = dt.page.len();
    dt.page.len(Math.min(total, most(box)) || 1).draw(true);
    const note = Object.assign(document.createElement("p"), { className: "paper", textContent: total > most(box)
      ? `The first ${most(box)} of ${total.toLocaleString("en")} rows; the table on screen and its CSV have all.` : "" });
    box.append(note);
  }));
  const closed = all("main details:not([open], .screen)");
  addEventListener("beforeprint", () => closed.forEach((details) => { details.open = true; }));
  addEventListener("afterprint", () => closed.forEach((details) => { details.open = false; }));
  addEventListener("afterprint", () => made.forEach(([box, dt]) => {
    dt.page.len(+box.dataset.rows).draw(true);
    all(".paper", box).forEach((note) => note.remove());
  }));

  // ---- copying: the clipboard where the browser gives it, else the text is selected
  for (const button of all("button.copy")) {
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy), said = button.textContent;
      try {
        await navigator.clipboard.writeText(source.textContent.trim());
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(source);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = said; }, 2000);
    });
  }
  // a link into a folded part opens it
  const unfold = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target) for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();

  // ---- one group: its rows, its fits, its effects
  const dialog = $("#detail"), body = $("#detail-body");
  const studies = new Map(all("article[data-study]").map((article) => [article.dataset.study, JSON.parse($("script.groups", article).textContent)]));
  let current = null;
  const text = (value) => String(value).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
  const short = (value) => value === null || value === undefined ? "–" : Number(value).toLocaleString("en", { maximumSignificantDigits: 4, minimumSignificantDigits: Math.abs(value) < 1000 ? 4 : 1, ...grouping() }).replace("-", "−");
  const ticks = (low, high) => {
    const raw = (high - low) / 5 || 1, power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].find((s) => s * power >= raw) * power;
    const found = [];
    for (let at = Math.ceil(low / step) * step; at <= high + 1e-9 * step; at += step) found.push(+at.toPrecision(10));
    return found;
  };
  const picture = (study, group) => {
    if (!group.x || !group.lines) return "";
    const lines = Object.entries(group.lines), width = 640, height = 300, left = 46, bottom = 34, top = 8;
    const xs = [...group.x, ...lines.flatMap(([, line]) => line[0])], ys = [...group.y, ...lines.flatMap(([, line]) => line[1])];
    const range = (values) => { const low = Math.min(...values), high = Math.max(...values), pad = (high - low || 1) * .06; return [low - pad, high + pad]; };
    const [x0, x1] = range(xs), [y0, y1] = range(ys);
    const across = (x) => (left + (x - x0) / (x1 - x0) * (width - left - 8)).toFixed(1);
    const down = (y) => (top + (y1 - y) / (y1 - y0) * (height - top - bottom)).toFixed(1);
    const grid = ticks(x0, x1).map((t) => `<text x="${across(t)}" y="${height - 16}" text-anchor="middle">${text(t)}</text>`).join("")
      + ticks(y0, y1).map((t) => `<path d="M${left} ${down(t)}H${width - 8}" stroke="var(--line)"/><text x="${left - 6}" y="${+down(t) + 4}" text-anchor="end">${text(t)}</text>`).join("");
    const drawn = lines.map(([engine, [px, py]]) => { const { colour, dash } = study.looks[engine];
      return `<path fill="none" stroke="${colour}" stroke-width="2.2" stroke-dasharray="${dash}" d="M${px.map((x, i) => `${across(x)} ${down(py[i])}`).join("L")}"/>`; }).join("");
    const points = group.x.map((x, i) => `<circle cx="${across(x)}" cy="${down(group.y[i])}" r="3.2" fill="var(--ink)" fill-opacity=".65"/>`).join("");
    const key = lines.map(([engine]) => { const { colour, dash, label } = study.looks[engine];
      return `<li><i data-colour="${colour}" data-line="${dash ? "dashed" : "solid"}"></i>${text(label)}</li>`; }).join("");
    return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${text(`${study.y} against ${study.x} in group ${group.id}, ${group.x.length} rows, with ${lines.length} fitted lines`)}">`
      + `${grid}${drawn}${points}<text x="${width / 2}" y="${height - 1}" text-anchor="middle">${text(study.x)}</text></svg><ul class="key">${key}</ul>`;
  };
  const effects = (study, group) => {
    const rows = study.engines.flatMap((engine) => study.terms.map((term) => { const [value, error, low, high] = group.effects[engine][term] ?? [];
      return `<tr><th scope="row">${text(study.looks[engine].label)}</th><td>${text(term)}</td><td class="n">${short(value)}</td><td class="n">${short(error)}</td><td class="n">${short(low)}</td><td class="n">${short(high)}</td>${group.truth ? `<td class="n">${short(group.truth[term])}</td>` : ""}</tr>`; })).join("");
    return `<div class="scroll" tabindex="0" role="region" aria-label="Random effects of this group"><table class="plain"><caption><span class="about">Random effects</span></caption><thead><tr><th scope="col">Engine</th><th scope="col">Term</th><th scope="col" class="n">Estimate</th><th scope="col" class="n">Std. error</th><th scope="col" class="n">Low</th><th scope="col" class="n">High</th>${group.truth ? '<th scope="col" class="n">Truth</th>' : ""}</tr></thead><tbody>${rows}</tbody></table></div>`;
  };
  const open = (name, level) => {
    const study = studies.get(name), at = study?.groups.findIndex((group) => group.id === level) ?? -1;
    if (at < 0) return;
    current = { name, at };
    const group = study.groups[at];
    $("#detail-title").textContent = `${study.group} ${group.id}${group.y ? ` · ${group.y.length} rows` : ""}`;
    body.innerHTML = picture(study, group) + effects(study, group);
    // the page's policy allows no style attribute in markup
    all(".key i", body).forEach((line) => Object.assign(line.style, { borderColor: line.dataset.colour, borderTopStyle: line.dataset.line }));
    if (!dialog.open) dialog.showModal();
  };
  const step = (by) => {
    const groups = studies.get(current.name).groups;
    open(current.name, groups[(current.at + by + groups.length) % groups.length].id);
  };
  all("[data-step]", dialog).forEach((button) => button.addEventListener("click", () => step(+button.dataset.step)));
  $("[data-close]", dialog).addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => { if (event.key === "ArrowLeft") step(-1); else if (event.key === "ArrowRight") step(1); });
  for (const [name, study] of studies) {
    if (!study) continue;
    const article = $(`article[data-study="${name}"]`);
    article.addEventListener("click", (event) => {
      const hit = event.target.closest("[data-level]");
      if (hit) open(name, hit.dataset.level);
    });
    // the group's name becomes a button on the rows that are on screen
    for (const table of all("table[data-groups]", article)) {
      const dress = () => all("tbody tr > :first-child", table).forEach((cell) => {
        if (cell.firstElementChild || cell.classList.contains("dt-empty")) return;
        const level = cell.textContent;
        const button = Object.assign(document.createElement("button"), { type: "button", className: "open", textContent: level });
        button.dataset.level = level;
        button.setAttribute("aria-label", `Detail of ${study.group} ${level}`);
        cell.replaceChildren(button);
      });
      dress();
      if (table.classList.contains("interactive")) new DataTable.Api(table).on("draw", dress);
    }
  }

  // ---- where the reader is
  const links = new Map(all(".contents a").map((link) => [link.getAttribute("href").slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) {
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "0px 0px -75% 0px" });
  all("article > section[id]").forEach((section) => watcher.observe(section));
  if (matchMedia("(max-width: 62rem)").matches) $(".contents details").open = false;
})();

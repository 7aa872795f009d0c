// Figures in the reader's colours, and the table of plans. `theme.js` and `quantity.js` stand above.
(() => {
  const root = document.documentElement;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // ---- figures
  const figures = read("figures");
  const narrow = () => root.clientWidth < 640;
  const axisLook = () => ({
    gridcolor: colour("--grid"),
    linecolor: colour("--line"),
    zerolinecolor: colour("--line"),
    automargin: true,
    title: { font: { size: narrow() ? 12 : 13 }, standoff: 8 },
  });
  const layoutOf = (figure) => {
    const layout = structuredClone(figure.layout);
    layout.template = { layout: { xaxis: axisLook(), yaxis: axisLook() } };
    layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
    layout.font = { family: getComputedStyle(document.body).fontFamily, size: narrow() ? 11 : 12, color: colour("--text") };
    layout.margin = { l: 10, r: 14, t: 26, b: 10 };
    layout.legend = { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", traceorder: "normal", ...layout.legend };
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: colour("--line"), activecolor: colour("--faint") };
    layout.hoverlabel = { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--text") }, align: "left" };
    for (const note of layout.annotations || []) {
      Object.assign(note, { font: { color: colour("--faint"), size: 11 }, bgcolor: colour("--veil"), borderpad: 1 });
    }
    return layout;
  };
  const draw = () =>
    Promise.all(
      [...document.querySelectorAll("[data-figure]")].map((place) => {
        const figure = figures[place.dataset.figure];
        return Plotly.react(place, structuredClone(figure.data), layoutOf(figure), {
          responsive: true,
          displaylogo: false,
          modeBarButtons: [["toImage"]],
          displayModeBar: narrow() ? false : "hover",
        });
      }),
    );

  // ---- the table of plans
  const shownOf = (column, value) => {
    if (value === null || value === undefined) return "-";
    return column.unit === "text" ? value : quantity(value, column.unit);
  };

  const planTable = () => {
    const holder = document.getElementById("plans-table");
    if (!holder) return;
    const { columns, rows, detailed } = read("plan-data");
    const page = 50;
    let order = { column: columns.findIndex((c) => c.name === "tokens_per_s_per_device"), down: true };
    let limit = page;
    const filters = document.getElementById("filters");
    const controls = columns.map((column, at) => {
      if (column.filter === "pick") {
        const values = [...new Set(rows.map((row) => row.cells[at]))].sort((a, b) => (a > b) - (a < b));
        return values.length > 1 && { at, kind: "pick", element: select(column.title, values, column) };
      }
      return column.filter === "most" && { at, kind: "most", element: most(column) };
    });
    const onlyFitting = check("only those that fit", true);
    const onlyFront = check("only the front", false);
    const count = document.getElementById("plan-count");
    const more = document.getElementById("more");

    function labelled(text, element, className = "") {
      const label = document.createElement("label");
      label.className = className;
      if (className) label.append(element, text);
      else label.append(text, element);
      filters.append(label);
      element.addEventListener("input", () => { limit = page; show(); });
      return element;
    }
    function select(title, values, column) {
      const element = document.createElement("select");
      element.add(new Option("all", ""));
      values.forEach((value, number) => element.add(new Option(shownOf(column, value), String(number))));
      element.values = values;
      return labelled(title, element);
    }
    function most(column) {
      const element = document.createElement("input");
      Object.assign(element, { type: "number", min: "0", step: "any", placeholder: "any" });
      return labelled(`${column.title} at most (${column.scaleUnit})`, element);
    }
    function check(text, on) {
      const element = document.createElement("input");
      Object.assign(element, { type: "checkbox", checked: on });
      return labelled(text, element, "check");
    }
    const passes = (row) =>
      (!onlyFitting.checked || row.fits) &&
      (!onlyFront.checked || row.front) &&
      controls.every((control) => {
        if (!control || control.element.value === "") return true;
        const cell = row.cells[control.at];
        if (control.kind === "pick") return cell === control.element.values[Number(control.element.value)];
        return cell !== null && cell <= Number(control.element.value) * columns[control.at].scale;
      });
    const compare = (a, b) => {
      const [x, y] = [a.cells[order.column], b.cells[order.column]];
      if (x === y) return a.number - b.number;
      if (x === null || x === undefined) return 1;
      if (y === null || y === undefined) return -1;
      return (x > y ? 1 : -1) * (order.down ? -1 : 1);
    };
    const head = holder.tHead.rows[0];
    columns.forEach((column, at) => {
      const cell = document.createElement("th");
      const button = document.createElement("button");
      cell.scope = "col";
      if (column.unit !== "text") cell.className = "n";
      button.type = "button";
      button.textContent = column.title;
      button.addEventListener("click", () => {
        order = { column: at, down: order.column === at ? !order.down : column.unit !== "text" && column.filter !== "most" };
        show();
      });
      cell.append(button);
      head.append(cell);
    });
    function show() {
      const found = rows.filter(passes).sort(compare);
      const body = document.createElement("tbody");
      for (const row of found.slice(0, limit)) {
        const line = body.insertRow();
        line.className = `${row.front ? "front" : ""} ${row.number === detailed ? "detailed" : ""}`.trim();
        row.cells.forEach((value, at) => {
          const cell = line.insertCell();
          if (columns[at].unit !== "text") cell.className = "n";
          cell.textContent = shownOf(columns[at], value);
        });
      }
      holder.replaceChild(body, holder.tBodies[0]);
      [...head.cells].forEach((cell, at) => {
        const mine = at === order.column;
        cell.ariaSort = mine ? (order.down ? "descending" : "ascending") : "none";
        cell.firstChild.textContent = columns[at].title + (mine ? (order.down ? "\u00a0▼" : "\u00a0▲") : "");
      });
      count.textContent = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} plans of this page`;
      more.hidden = found.length <= limit;
      more.textContent = `show ${Math.min(page, found.length - limit)} more`;
    }
    more.addEventListener("click", () => { limit += page; show(); });
    show();
  };

  // ---- start
  root.addEventListener("theme", draw);
  let wasNarrow = narrow();
  addEventListener("resize", () => {
    if (narrow() !== wasNarrow) { wasNarrow = narrow(); draw(); }
  });
  planTable();
  draw().then(() => { root.dataset.ready = "yes"; });
})();

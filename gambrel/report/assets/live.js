"use strict";
// Sliders and what they change. `estimate`, from inputs by name to results by variant and path, and `quantity` stand above.
const data = JSON.parse(document.getElementById("live-data").textContent);
const place = document.getElementById("live-place");
const DEGREES = Object.keys(data.degrees);
const LENGTHS = Object.keys(data.lengths);
const FACTORS = Array.from({ length: 81 }, (_, i) => Number((2 ** ((i - 40) / 10)).toPrecision(4)));
const NAMES = {
  batch: "batch (sequences)", isl: "prompt tokens", osl: "output tokens", prefix: "cached tokens",
  tp: "tensor parallel", pp: "pipeline stages", dp: "replicas", ep: "expert parallel",
};
const TILES = [
  ["ttft_s", "time to first token", "s", -1], ["tpot_s", "time per output token", "s", -1],
  ["tokens_per_s", "output tokens/s", "count", 1], ["tokens_per_s_per_device", "tokens/s per device", "count", 1, "minor"],
  ["latency_s", "request latency", "s", -1], ["usd_per_million_tokens", "USD per million tokens", "count", -1],
  ["energy_per_token_j", "energy per token", "J", -1, "minor"], ["devices", "devices", "count", 0],
];

// ---- shares and elements
const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
const make = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const nearest = (values, wanted) =>
  values.reduce((best, value, at) => (Math.abs(value - wanted) < Math.abs(values[best] - wanted) ? at : best), 0);

// ---- what is asked, and the answer
const beginning = () => ({
  lengths: Object.fromEntries(LENGTHS.map((name) => [name, data.lengths[name].start])),
  degrees: Object.fromEntries(DEGREES.map((name) => [name, data.degrees[name].start])),
  factors: Object.fromEntries(data.knobs.map((knob) => [knob.key, 1])),
});
let now = beginning();

const answerOf = (asked) => {
  const at = DEGREES.reduce((sum, name) => {
    const { values } = data.degrees[name];
    return sum * values.length + values.indexOf(asked.degrees[name]);
  }, 0);
  const variant = data.combinations[at];
  if (variant < 0) return { problem: data.reasons[-1 - variant] };
  const inputs = { ...asked.lengths, ...asked.degrees };
  for (const knob of data.knobs) {
    for (const [name, value] of Object.entries(knob.numbers)) inputs[name] = value * asked.factors[knob.key];
  }
  const out = estimate(inputs);
  const broken = data.rules.filter((_, number) => out[`broken.${number}`]);
  if (broken.length) return { problem: broken.join("; ") };
  const get = (path) => out[`${variant}.${path}`];
  const values = Object.fromEntries(TILES.map(([path]) => [path, get(path)]));
  values.devices = asked.degrees.tp * asked.degrees.pp * asked.degrees.dp * data.cp;
  if (asked.lengths.osl < 2) values.tpot_s = NaN;
  return { get, values };
};
const first = answerOf(now);

// ---- sliders
const rows = [];
const row = (name, title, count, readout, show, take) => {
  const slider = make("input", { type: "range", min: 0, max: count - 1, step: 1, id: `live-${name}`, name });
  const label = make("label", { htmlFor: slider.id }, title);
  const line = make("div", { className: "live-row" }, label, readout, slider);
  slider.addEventListener("input", () => { take(Number(slider.value)); schedule(); });
  rows.push({ name, line, show: () => show(slider, readout) });
  return line;
};
const lengthRow = (name) => {
  const { values } = data.lengths[name];
  const exact = make("input", { type: "number", min: values[0], step: 1, ariaLabel: NAMES[name] });
  exact.addEventListener("change", () => {
    const wanted = Math.round(Number(exact.value));
    if (Number.isFinite(wanted) && wanted >= values[0]) now.lengths[name] = wanted;
    schedule();
  });
  const show = (slider, readout) => {
    slider.value = nearest(values, now.lengths[name]);
    readout.value = now.lengths[name];
  };
  return row(name, NAMES[name], values.length, exact, show, (at) => { now.lengths[name] = values[at]; });
};
const degreeRow = (name) => {
  const { values } = data.degrees[name];
  const show = (slider, readout) => {
    slider.value = values.indexOf(now.degrees[name]);
    readout.textContent = now.degrees[name];
  };
  return row(name, `${NAMES[name]} (${name})`, values.length, make("output", {}), show, (at) => { now.degrees[name] = values[at]; });
};
const knobRow = (knob) => {
  const show = (slider, readout) => {
    const factor = now.factors[knob.key];
    slider.value = FACTORS.indexOf(factor);
    readout.textContent = quantity(knob.value * factor, knob.unit) + (factor === 1 ? "" : ` (${factor} x)`);
  };
  return row(knob.key, knob.title, FACTORS.length, make("output", {}), show, (at) => { now.factors[knob.key] = FACTORS[at]; });
};
const group = (title, lines) => make("fieldset", {}, make("legend", {}, title), ...lines);
const again = make("button", { type: "button" }, "back to the start");
again.addEventListener("click", () => { now = beginning(); schedule(); });
const controls = make("div", { className: "live-controls" },
  group("Workload", LENGTHS.map(lengthRow)),
  group("Plan", DEGREES.filter((name) => data.degrees[name].values.length > 1).map(degreeRow)),
  group("Machine", data.knobs.map(knobRow)),
  again,
);

// ---- tiles
const tiles = TILES.filter(([path]) => path === "devices" || first.problem || first.values[path] !== undefined).map(
  ([path, title, unit, sense, extra]) => {
    const value = make("b", {});
    const change = make("small", {});
    const tile = make("div", { className: `tile ${extra ?? ""}` }, value, make("span", {}, title), change);
    tile.dataset.metric = path;
    return { path, unit, sense, value, change, tile };
  },
);
const showTile = ({ path, unit, sense, value, change, tile }, answer) => {
  const found = answer.problem ? NaN : answer.values[path];
  const before = first.problem ? NaN : first.values[path];
  value.textContent = quantity(found, unit);
  tile.dataset.value = String(found);
  const ratio = found / before - 1;
  const same = !Number.isFinite(ratio) || Math.abs(ratio) < 5e-4;
  change.textContent = same ? "" : `${ratio > 0 ? "+" : "−"}${percent(Math.abs(ratio))}`;
  change.className = same || sense === 0 ? "" : ratio * sense > 0 ? "better" : "worse";
};

// ---- bars
const bar = (title) => {
  const name = make("span", {}, title);
  const value = make("b", {});
  const strip = make("div", { className: "live-bar", role: "img" });
  const show = (parts, whole, text, mark) => {
    value.textContent = text;
    strip.replaceChildren(
      ...parts.filter((part) => part.value > 0).map((part) => {
        const piece = make("i", { className: part.waits ? "waits" : "", title: `${part.name}: ${part.text}` });
        piece.style.width = `${(100 * part.value) / whole}%`;
        piece.style.backgroundColor = part.colour;
        return piece;
      }),
    );
    strip.ariaLabel = `${title}: ${text}; ${parts.filter((p) => p.value > 0).map((p) => `${p.name} ${p.text}`).join(", ")}`;
    if (mark !== undefined) {
      const line = make("u", { title: "capacity" });
      line.style.left = `calc(${(100 * mark) / whole}% - 2px)`;
      strip.append(line);
    }
  };
  return { elements: [make("div", { className: "live-name" }, name, value), strip], show };
};
const table = (heads) => {
  const body = make("tbody", {});
  const top = make("tr", {}, ...heads.map((head, at) => make("th", { className: at ? "n" : "" }, head)));
  const show = (lines) =>
    body.replaceChildren(
      ...lines.map(([colour, name, ...cells]) => {
        const swatch = make("i", {});
        swatch.style.backgroundColor = colour;
        return make("tr", {}, make("td", {}, swatch, name), ...cells.map((cell) => make("td", { className: "n" }, cell)));
      }),
    );
  return { element: make("div", { className: "scroll" }, make("table", {}, make("thead", {}, top), body)), show };
};
const PHASES = [["prefill", "prefill of the batch"], ["decode", "decode step"]];
const held = bar("memory of the fullest device");
const kinds = table(["", "bytes", "of the capacity"]);
const times = PHASES.map(([, title]) => bar(title));
const families = table(["", "prefill", "", "decode step", ""]);
const bounds = PHASES.map(([, title]) => bar(title));
const boundTable = table(["bound by", "prefill", "decode step"]);
const command = make("code", {});
const copy = make("button", { type: "button" }, "copy");
copy.addEventListener("click", () => navigator.clipboard?.writeText(command.textContent));
const status = make("p", { className: "live-status", ariaLive: "polite" });
const charts = make("div", { className: "live-charts" },
  make("h3", {}, "What fills the memory"), ...held.elements, kinds.element,
  make("h3", {}, "Where the time goes"), ...times.flatMap((t) => t.elements), families.element,
  make("h3", {}, "What bounds it"), ...bounds.flatMap((b) => b.elements), boundTable.element,
  make("h3", {}, "The same on the command line"), make("div", { className: "live-command" }, command, copy),
);

const showMemory = ({ get }) => {
  const parts = Object.entries(data.kinds).map(([kind, look]) => {
    const value = get(`memory_bytes.${kind}`);
    return { ...look, value, text: quantity(value, "B") };
  });
  const [total, capacity] = [get("memory_total_bytes"), get("capacity_bytes")];
  const text = `${quantity(total, "B")} of ${quantity(capacity, "B")}`;
  held.show(parts, Math.max(total, capacity) * 1.001, text, capacity);
  kinds.show(parts.filter((p) => p.value > 0).map((p) => [p.colour, p.name, p.text, percent(p.value / capacity)]));
  const fits = total <= capacity;
  status.textContent = fits ? "It fits the memory." : `It does not fit the memory: ${text}.`;
  status.className = `live-status ${fits ? "good" : "bad"}`;
};
const showTime = ({ get, values }) => {
  const phases = PHASES.filter(([phase]) => phase === "prefill" || Number.isFinite(values.tpot_s));
  const found = phases.map(([phase]) =>
    Object.entries(data.families).map(([name, look]) => {
      const waits = name === "bubble" || name === "host";
      const value = get(waits ? `${phase}.${name}_seconds` : `${phase}.by_family.${name}`) ?? 0;
      return { ...look, waits, value, text: quantity(value, "s") };
    }),
  );
  const sums = found.map((parts) => parts.reduce((sum, part) => sum + part.value, 0));
  times.forEach((its, at) =>
    found[at] ? its.show(found[at], sums[at], quantity(at ? values.tpot_s : values.ttft_s, "s")) : its.show([], 1, "–"));
  const lines = found[0].map((part, row) => [part, found.map((parts) => parts[row])]);
  const shown = lines.filter(([, cells]) => cells.some((cell, at) => cell.value > 5e-4 * sums[at]));
  shown.sort(([, a], [, b]) => Math.max(...b.map((c, at) => c.value / sums[at])) - Math.max(...a.map((c, at) => c.value / sums[at])));
  families.show(shown.map(([part, cells]) => [
    part.colour, part.name, ...cells.flatMap((cell, at) => [cell.text, percent(cell.value / sums[at])]),
  ]));
  const limits = phases.map(([phase]) =>
    Object.entries(data.bounds).map(([name, look]) => {
      const value = get(`${phase}.by_bound.${name}`) ?? 0;
      return { ...look, value, text: quantity(value, "s") };
    }),
  );
  const wholes = limits.map((parts) => parts.reduce((sum, part) => sum + part.value, 0));
  bounds.forEach((its, at) => {
    const most = limits[at]?.reduce((a, b) => (b.value > a.value ? b : a));
    if (most) its.show(limits[at], wholes[at], `mostly ${most.name}`);
    else its.show([], 1, "–");
  });
  boundTable.show(limits[0].map((part, row) => [part.colour, part.name, ...limits.map((l, at) => percent(l[row].value / wholes[at]))]));
};
const showCommand = () => {
  const { model, on, fixed } = data.command;
  const words = ["gambrel estimate", model, "--on", on];
  for (const name of LENGTHS) if (name !== "prefix" || now.lengths.prefix) words.push(`--${name} ${now.lengths[name]}`);
  for (const name of DEGREES) {
    if (now.degrees[name] > 1 || (name === "ep" && data.experts)) words.push(`--plan.${name} ${now.degrees[name]}`);
  }
  if (fixed) words.push(fixed);
  for (const knob of data.knobs) {
    const factor = now.factors[knob.key];
    if (factor !== 1) words.push(...knob.options.map((option) => `--set ${option}=${factor}x`));
  }
  command.textContent = words.join(" ");
};

// ---- all of it
const render = () => {
  const answer = answerOf(now);
  for (const { show } of rows) show();
  for (const tile of tiles) showTile(tile, answer);
  const wrong = Boolean(answer.problem);
  charts.classList.toggle("stale", wrong);
  for (const { name, line } of rows) line.classList.toggle("wrong", wrong && DEGREES.includes(name));
  showCommand();
  if (wrong) {
    status.textContent = `This cannot run: ${answer.problem}.`;
    status.className = "live-status bad";
    return;
  }
  showMemory(answer);
  showTime(answer);
};
let waiting = false;
const schedule = () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; render(); });
};
place.append(
  make("p", { className: "faint" }, `It starts at ${data.asked}. Changes below are against that.`),
  make("div", { className: "live-tiles" }, ...tiles.map(({ tile }) => tile)),
  status,
  make("div", { className: "live-grid" }, controls, charts),
);
render();

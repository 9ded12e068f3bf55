// The two charts, by uPlot. They are drawn again when colours, widths or scales change.
"use strict";

const CHART_HEIGHT = 300;
const FONT = '12px -apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const LINES = ["--blue", "--purple", "--green", "--pink", "--amber", "--teal"];
const redraws = [];

/** A colour of the style sheet as it is now: the reader's scheme, or the printer's. */
function colour(name) {
  const probe = byId("said");
  probe.style.color = `var(${name})`;
  const seen = getComputedStyle(probe).color;
  probe.style.color = "";
  return seen;
}

/** Draws what `make` gives into a place; `label` is what it says to those who do not see it. */
function draw(place, label, make) {
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", label);
  let plot = null;
  const again = () => {
    plot?.destroy();
    const { data, ...options } = make();
    plot = new uPlot({
      width: place.clientWidth,
      height: CHART_HEIGHT,
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      cursor: { y: false, drag: { x: false, y: false } },
      ...options,
    }, data, place);
  };
  again();
  redraws.push(again);
  new ResizeObserver(() => {
    if (plot.width !== place.clientWidth) plot.setSize({ width: place.clientWidth, height: CHART_HEIGHT });
  }).observe(place);
}

function drawAgain() {
  for (const again of redraws) again();
}

/** As wide as the longest number on the axis. uPlot measures in pixels of the screen. */
function widthOf(plot, texts, axisNumber, cycle) {
  const axis = plot.axes[axisNumber];
  if (cycle > 1) return axis._size; // it is settled: no third layout
  const longest = (texts ?? []).reduce((long, text) => (text && text.length > long.length ? text : long), "");
  plot.ctx.font = axis.font[0];
  return Math.ceil(axis.ticks.size + axis.gap + 4 + plot.ctx.measureText(longest).width / devicePixelRatio);
}

/** The powers of ten up to the end of an axis, and zero: its lines on a logarithmic scale. */
const powers = (_, __, ___, most) => {
  const found = [0, 1];
  while (found.at(-1) * 10 <= most) found.push(found.at(-1) * 10);
  return found;
};

const axes = (isLog = false) => {
  const line = { stroke: colour("--line"), width: 1 };
  const axis = { stroke: colour("--faint"), font: FONT, grid: line, ticks: line };
  return [
    { ...axis, grid: { show: false }, values: (_, days) => monthly(days), space: 64 },
    { ...axis, size: widthOf, values: (_, values) => values.map((value) => (value === null ? "" : short(value))), space: 40, ...(isLog ? { splits: powers } : {}) },
  ];
};

/** The days below a chart: each new year is said once. */
function monthly(seconds) {
  let year = "";
  return seconds.map((one) => {
    const day = dayOf(one);
    const first = day.slice(0, 4) !== year;
    year = day.slice(0, 4);
    return first ? `${inShort(day)}\n${year}` : inShort(day);
  });
}

/** Calls `tell` with the place in the data that the pointer is at, and with null when it leaves. */
const pointed = (tell) => ({ setCursor: [(plot) => tell(plot.cursor.idx ?? null)] });

/** What a line of a chart is called, with its mark before it. */
const mark = (name, text, kind = "line") => {
  const swatch = element("i", { class: `mark ${kind}`, "aria-hidden": "true" });
  swatch.style.setProperty("--of", `var(${name})`);
  return element("span", { class: "key" }, swatch, text);
};

// --- capacity ---------------------------------------------------------------------------------------

/** Every day from the first count to the last; a day without a count is a gap. */
function counted(counts) {
  const keys = new Map(counts.map(([day, number]) => [second(day), number]));
  const days = [];
  if (counts.length) {
    const last = second(counts[counts.length - 1][0]);
    for (let day = second(counts[0][0]); day <= last; day += DAY) days.push(day);
  }
  return { days, keys };
}

/**
 * The forecast's three lines from the last count on, as functions of the day: the fastest growth,
 * the expected and the slowest; null if nothing is known. `until` is where the chart ends.
 */
function fan(date, { keys, forecast }, limit) {
  const from = second(date);
  if (forecast.state === "not_yet_known" || keys === null) return null;
  const rate = (days, otherwise) => (days ? (limit - keys) / (days * DAY) : (otherwise ?? 0) / DAY);
  const line = (slope) => (day) => Math.min(limit, Math.max(0, keys + slope * (day - from)));
  const ahead = forecast.days === null ? 60
    : Math.max(14, Math.min(forecast.latest ?? Infinity, Math.round(forecast.days * 1.8)));
  return {
    from,
    until: from + ahead * DAY,
    marks: [forecast.soonest, forecast.days, forecast.latest].filter((days) => days && days < ahead),
    lines: [
      line(rate(forecast.soonest, forecast.high)),
      (day) => (forecast.days && day > from + forecast.days * DAY ? null : line(rate(forecast.days, forecast.a_day))(day)),
      line(rate(forecast.latest, forecast.low)),
    ],
  };
}

function drawCapacity(report) {
  const { capacity, service_quota: limit, date } = report;
  const { days, keys } = counted(capacity.counts);
  const fanned = fan(date, capacity, limit);
  const xs = new Set(days);
  if (fanned) {
    xs.add(fanned.from).add(fanned.until);
    for (const mark of fanned.marks) xs.add(fanned.from + mark * DAY);
  }
  if (!keys.has(second(date)) && capacity.keys !== null) keys.set(second(date), capacity.keys);
  xs.add(second(date));
  const at = [...xs].sort((one, other) => one - other);
  const ahead = (line) => at.map((day) => (fanned && day >= fanned.from ? line(day) : null));
  const data = [at, at.map((day) => keys.get(day) ?? null)];
  for (const n of [0, 1, 2]) data.push(ahead((day) => fanned.lines[n](day)));
  const readout = element("span", { class: "readout" });
  const tell = (n) => {
    readout.textContent = n === null ? "" : told(n);
  };
  const told = (n) => {
    const when = inWords(dayOf(at[n]));
    if (data[1][n] !== null) return `${when}: ${many(data[1][n], "key")}`;
    if (data[2][n] === null) return `${when}: not counted`;
    const [high, middle, low] = [2, 3, 4].map((line) => count(Math.round(data[line][n] ?? limit)));
    return `${when}: about ${middle} keys, between ${low} and ${high}`;
  };
  draw(byId("capacity-chart"), `Chart: ${summaryOf(report)}`, () => capacityPlot(report, at, data, tell));
  byId("capacity-legend").replaceChildren(
    mark("--blue", "counted"),
    fanned ? mark("--blue", "forecast", "dashed") : "",
    fanned ? mark("--band", "its range, 80 of 100", "area") : "",
    mark("--red", "limit"),
    mark("--amber", "an alert goes out", "dotted"),
    readout);
}

function capacityPlot({ capacity, service_quota: limit, date }, at, data, tell) {
  const known = data.slice(1).flat().filter((number) => number !== null);
  const least = Math.min(...known, limit);
  const low = Math.max(0, Math.floor((least - 0.2 * (limit - least)) / 100) * 100);
  const high = Math.max(limit, ...known) + 0.07 * (limit - low);
  const blue = colour("--blue");
  const forecast = { stroke: "transparent", width: 0, points: { show: false } };
  return {
    data,
    scales: {
      x: { time: true, range: () => [Math.min(at[0], second(date) - 13 * DAY), Math.max(at[at.length - 1], second(date) + 14 * DAY)] },
      y: { range: () => [low, high] },
    },
    axes: axes(),
    series: [
      {},
      { stroke: blue, width: 2, points: { show: capacity.counts.length < 2, fill: blue, size: 7 } },
      forecast,
      { stroke: blue, width: 2, dash: [5, 4], points: { show: false } },
      forecast,
    ],
    bands: [{ series: [2, 4], fill: colour("--band") }],
    hooks: { ...pointed(tell), drawAxes: [(plot) => drawLevels(plot, capacity.levels, limit)] },
  };
}

/** The limit and the levels at which an alert goes out, each named where there is room. */
function drawLevels(plot, levels, limit) {
  const { ctx, bbox } = plot;
  const scale = devicePixelRatio;
  const lines = [[limit, `limit ${count(limit)}`, colour("--red"), []],
    ...[...levels].sort().reverse().map((level) => [level * limit, percent(level), colour("--amber"), [2, 4]])];
  let last = -Infinity;
  ctx.save();
  ctx.font = FONT.replace("12px", `${12 * scale}px`);
  ctx.textAlign = "left";
  ctx.textBaseline = "bottom";
  ctx.lineWidth = scale;
  for (const [keys, name, stroke, dash] of lines) {
    const y = Math.round(plot.valToPos(keys, "y", true));
    if (y > bbox.top + bbox.height) continue;
    ctx.strokeStyle = ctx.fillStyle = stroke;
    ctx.setLineDash(dash.map((length) => length * scale));
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    if (y - last > 15 * scale) ctx.fillText(name, bbox.left + 4 * scale, y - 2 * scale);
    last = y;
  }
  ctx.restore();
}

// --- use ---------------------------------------------------------------------------------------------

function drawUse({ use }) {
  const at = use.days.map(second);
  const data = [at, ...use.tiers.map((tier) => tier.by_day)];
  const readout = element("span", { class: "readout" });
  const tell = (n) => {
    if (n === null) readout.textContent = "";
    else if (use.missing.includes(use.days[n])) readout.textContent = `${inWords(use.days[n])}: ${UNKNOWN}`;
    else {
      readout.textContent = `${inWords(use.days[n])}: ` +
        use.tiers.map((tier) => `${shown(tier.tier)} ${count(tier.by_day[n])}`).join(", ");
    }
  };
  const button = byId("use-scale");
  const isLog = () => button.getAttribute("aria-pressed") === "true";
  button.setAttribute("aria-pressed", differMuch(use.tiers));
  button.hidden = use.tiers.length < 2;
  draw(byId("use-chart"), "Chart: requests a day by tier; the same numbers are in the table below it",
    () => usePlot(use, at, data, tell, isLog()));
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", !isLog());
    drawAgain();
  });
  byId("use-legend").replaceChildren(
    ...use.tiers.map((tier, n) => mark(LINES[n % LINES.length], theirs(tier.tier), n < LINES.length ? "line" : "dashed")),
    use.missing.length ? mark("--hatch", UNKNOWN, "area") : "",
    readout);
}

const MUCH = 50;

/** Whether the busiest tier hides another one on a linear scale. */
function differMuch(tiers) {
  const most = tiers.map((tier) => Math.max(0, ...tier.by_day)).filter((number) => number > 0);
  return most.length > 1 && Math.max(...most) > MUCH * Math.min(...most);
}

function usePlot(use, at, data, tell, isLog) {
  const most = Math.max(1, ...data.slice(1).flat().filter((number) => number !== null));
  return {
    data,
    scales: {
      x: { time: true, range: () => [at[0] - DAY / 2, at[at.length - 1] + DAY / 2] },
      // On the logarithmic scale (of asinh, which has a zero) lines of all sizes are seen.
      y: isLog ? { distr: 4, asinh: 1, range: () => [0, most * 2] } : { range: () => [0, most * 1.08] },
    },
    axes: axes(isLog),
    series: [{}, ...use.tiers.map((_, n) => {
      const stroke = colour(LINES[n % LINES.length]);
      return { stroke, width: 2, spanGaps: false, dash: n < LINES.length ? [] : [5, 4],
        points: { show: true, size: 5, fill: stroke } };
    })],
    hooks: { ...pointed(tell), drawClear: [(plot) => drawMissing(plot, use.missing)] },
  };
}

/** Days that are not known are grey over their whole width: no zero. */
function drawMissing(plot, missing) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.fillStyle = colour("--hatch");
  for (const day of missing) {
    const left = plot.valToPos(second(day) - DAY / 2, "x", true);
    const right = plot.valToPos(second(day) + DAY / 2, "x", true);
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
  }
  ctx.restore();
}

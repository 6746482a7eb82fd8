// Charts, drawn by uPlot in the colours of the page; they follow the page's width and its scheme.

import uPlot from "uplot";

import { moment, score, tick, whole } from "./format.js";

const FONT = "12px system-ui, sans-serif";
const HEIGHT = 260;
const MARK_WIDTH_MIN = 2;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Keep a chart as wide as its place, and draw it anew when the scheme changes. */
function place(element, makeOptions, data) {
  let chart = null;
  let shown = data;
  const draw = () => {
    chart?.destroy();
    chart = new uPlot({ ...makeOptions(), width: Math.max(200, element.clientWidth), height: HEIGHT }, shown, element);
  };
  draw();
  let width = element.clientWidth;
  new ResizeObserver(() => {
    if (element.clientWidth === width) return;
    width = element.clientWidth;
    chart.setSize({ width: Math.max(200, width), height: HEIGHT });
  }).observe(element);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return {
    set(data) {
      shown = data;
      chart.setData(shown);
    },
    reset: () => chart.setData(shown),
  };
}

const axis = (more) => ({
  stroke: () => colour("muted"),
  font: FONT,
  grid: { stroke: () => colour("line"), width: 1 },
  ticks: { show: false },
  ...more,
});

/**
 * A score's history as steps. Incidents are shaded spans, a new model a line; `setMarks` takes
 * {kind, atMs, untilMs} each, `set` two columns: times in ms, and scores with null where there was none.
 */
export function historyChart(element, tell) {
  let marks = [];
  const drawMarks = (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const { kind, atMs, untilMs } of marks) {
      const from = u.valToPos(atMs, "x", true);
      const to = untilMs === null ? bbox.left + bbox.width : u.valToPos(untilMs, "x", true);
      ctx.fillStyle = colour(kind === "incident" ? "incident-wash" : "model");
      const width = kind === "incident" ? Math.max(MARK_WIDTH_MIN, to - from) : MARK_WIDTH_MIN;
      ctx.fillRect(from, bbox.top, width, bbox.height);
      ctx.fillStyle = colour(kind === "incident" ? "incident" : "model");
      ctx.fillRect(from, bbox.top, kind === "incident" ? width : MARK_WIDTH_MIN, kind === "incident" ? 3 : 0);
    }
    ctx.restore();
  };
  const chart = place(
    element,
    () => ({
      ms: 1,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 8 } },
      scales: {
        x: { time: true, range: (_, least, most) => timeRange(least, most, marks) },
        y: { range: (_, least, most) => scoreRange(least, most) },
      },
      axes: [
        axis({ size: 32, space: 70, values: (_, at, __, ___, stepMs) => at.map((ms) => tick(ms, stepMs)) }),
        axis({ size: 40, space: 44 }),
      ],
      tzDate: (ms) => uPlot.tzDate(new Date(ms), "UTC"),
      series: [
        {},
        {
          stroke: () => colour("accent"),
          fill: () => colour("accent-wash"),
          width: 2,
          paths: uPlot.paths.stepped({ align: 1 }),
          points: { show: (u) => u.data[0].length < 2 },
        },
      ],
      hooks: {
        drawAxes: [drawMarks],
        setCursor: [
          (u) => {
            const at = u.cursor.idx;
            tell(at === null || at === undefined ? "" : `${moment(u.data[0][at], { seconds: true })}: ${score(u.data[1][at])}`);
          },
        ],
      },
    }),
    [[], []],
  );
  return {
    set: (times, scores) => chart.set([times, scores]),
    setMarks(given) {
      marks = given;
      chart.reset();
    },
  };
}

/** All that is drawn, and what was marked soon after it: while somebody's partition stands still nothing else comes. */
function timeRange(least, most, marks) {
  const span = Math.max(120_000, most - least);
  const soon = marks.map(({ atMs }) => atMs).filter((atMs) => atMs > most && atMs < most + span / 4);
  const last = soon.length ? Math.max(...soon) + span / 20 : most;
  return last === least ? [least - span / 2, last + span / 2] : [least, last];
}

/** At least four points of height, so that a tenth does not look like a fall. */
function scoreRange(least, most) {
  if (least === null || most === null || least === undefined) return [1, 100];
  const room = Math.max(0, 4 - (most - least)) / 2 + 0.5;
  return [Math.max(1, Math.floor(least - room)), Math.min(100, Math.ceil(most + room))];
}

/** A line that is level over each bar, where uPlot's own steps begin or end in the middle of one. */
function steps(u, series, first, last) {
  const stroke = new Path2D();
  for (let at = first; at <= last; at += 1) {
    const count = u.data[series][at];
    if (count === null || count === undefined) continue;
    const [left, right] = [-0.5, 0.5].map((by) => u.valToPos(u.data[0][at] + by, "x", true));
    const height = u.valToPos(count, "y", true);
    if (at === first) stroke.moveTo(left, height);
    else stroke.lineTo(left, height);
    stroke.lineTo(right, height);
  }
  return { stroke, fill: null, clip: null, band: null, gaps: null, flags: 1 };
}

/** How many people have which score: bars for now, a line for an hour ago. */
export function populationChart(element, tell) {
  const places = Array.from({ length: 100 }, (_, at) => at + 1);
  let when = "";
  const chart = place(
    element,
    () => ({
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: { x: { time: false, range: () => [0.5, 100.5] }, y: { range: (_, __, most) => [0, Math.max(4, most * 1.08)] } },
      axes: [
        axis({ size: 32, space: 40, incrs: [10, 20, 25, 50] }),
        axis({ size: 56, space: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6], values: (_, at) => at.map(whole) }),
      ],
      series: [
        {},
        { fill: () => colour("accent-soft"), stroke: () => colour("accent-soft"), width: 0, paths: uPlot.paths.bars({ size: [0.8, 60] }), points: { show: false } },
        { stroke: () => colour("before"), width: 1.5, paths: steps, points: { show: false } },
      ],
      hooks: {
        setCursor: [
          (u) => {
            const at = u.cursor.idx;
            if (at === null || at === undefined) return tell("");
            const before = u.data[2][at];
            const then = before === null ? "" : `, ${when} ${whole(before)}`;
            tell(`Scores from ${at + 1}.0${at < 99 ? ` to ${at + 1}.9` : ""}: ${whole(u.data[1][at])} people now${then}`);
          },
        ],
      },
    }),
    [places, places.map(() => 0), places.map(() => null)],
  );
  const set = (now, before, beforeWhen) => {
    when = beforeWhen;
    chart.set([places, now, before ?? places.map(() => null)]);
  };
  return { set };
}

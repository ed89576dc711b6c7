// A chart of the prediction over the change requested; a mark shows the current frame.

import { type StripAbout } from "./types";
import { svg } from "./page";

export function chart(strip: StripAbout): { picture: SVGElement; at: (k: number, share: number) => void } {
  const { width, height, points, ideal, x_ticks, y_ticks, goal_y, half_y } = strip.curve;
  const line = (list: [number, number][]) => list.map(point => point.join(",")).join(" ");
  const now = svg("circle", { class: "now", r: 6 });
  const last = strip.scores.length - 1, axis = strip.shares ? `probability of ${strip.target_name}` : `change achieved, ${strip.unit}`;
  const [from, to] = [strip.table[0], strip.table[last]];
  const words = strip.shares ? `Probability over the change requested: from ${strip.levels[0]} to ${strip.levels[last]}, for ${to.requested} ${strip.unit} requested.`
    : `Change requested against change achieved, in ${strip.unit}: from ${from.requested} requested and ${from.achieved} achieved `
      + `to ${to.requested} requested and ${to.achieved} achieved.`;
  const across = (y: number, kind: string, text: string): SVGElement[] => [
    svg("line", { x1: 54, x2: width - 14, y1: y, y2: y, class: kind }), kind === "half" ? svg("text", { ...(points[points.length - 1][1] > y ? { x: 60 } : { x: width - 16, "text-anchor": "end" }), y: y + 13, class: "half-text" }, text)
      : svg("text", { x: 60, y: y - 4, class: `${kind}-text` }, text)];
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words, class: "chart" },
    ...x_ticks.flatMap(([x, text]) => [
      svg("line", { x1: x, x2: x, y1: 14, y2: height - 40, class: "grid" }),
      svg("text", { x, y: height - 24, "text-anchor": "middle" }, text)]),
    ...y_ticks.flatMap(([y, text]) => [
      svg("line", { x1: 54, x2: width - 14, y1: y, y2: y, class: "grid" }),
      svg("text", { x: 50, y: y + 4, "text-anchor": "end" }, text)]),
    svg("text", { x: (width + 40) / 2, y: height - 6, "text-anchor": "middle" }, `change requested, ${strip.unit}`),
    svg("text", { transform: `translate(12 ${height / 2 - 10}) rotate(-90)`, "text-anchor": "middle" }, cut(axis)),
    svg("polyline", { points: line(ideal), class: "ideal" }),
    ...(half_y === null ? [] : across(half_y, "half", "the prediction flips")),
    ...(goal_y === null ? [] : across(goal_y, "goal", "goal")),
    svg("polyline", { points: line(points), class: "measured" }),
    ...points.map(([x, y]) => svg("circle", { cx: x, cy: y, r: 2.6, class: "point" })),
    now);
  const at = (k: number, share: number): void => {
    const next = points[Math.min(k + 1, points.length - 1)];
    now.setAttribute("cx", String(points[k][0] * (1 - share) + next[0] * share));
    now.setAttribute("cy", String(points[k][1] * (1 - share) + next[1] * share));
  };
  return { picture, at };
}

const cut = (text: string): string => text.length > 34 ? `${text.slice(0, 33)}…` : text;

// A chart of the change requested against the change achieved; a mark shows the current frame.

import { type StripAbout } from "./types";
import { svg } from "./page";

export function chart(strip: StripAbout): { picture: SVGElement; at: (k: number, share: number) => void } {
  const { width, height, points, ideal, x_ticks, y_ticks, goal_y } = strip.curve;
  const line = (list: [number, number][]) => list.map(point => point.join(",")).join(" ");
  const now = svg("circle", { class: "now", r: 6 });
  const last = strip.scores.length - 1;
  const [from, to] = [strip.table[0], strip.table[last]];
  const words = `Change requested against change achieved, in ${strip.unit}: from ${from.requested} requested and ${from.achieved} achieved `
    + `to ${to.requested} requested and ${to.achieved} achieved.`;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words, class: "chart" },
    ...x_ticks.flatMap(([x, text]) => [
      svg("line", { x1: x, x2: x, y1: 14, y2: height - 40, class: "grid" }),
      svg("text", { x, y: height - 24, "text-anchor": "middle" }, text)]),
    ...y_ticks.flatMap(([y, text]) => [
      svg("line", { x1: 44, x2: width - 14, y1: y, y2: y, class: "grid" }),
      svg("text", { x: 38, y: y + 4, "text-anchor": "end" }, text)]),
    svg("text", { x: (width + 30) / 2, y: height - 6, "text-anchor": "middle" }, `change requested, ${strip.unit}`),
    svg("text", { transform: `translate(11 ${height / 2 - 10}) rotate(-90)`, "text-anchor": "middle" }, `change achieved, ${strip.unit}`),
    svg("polyline", { points: line(ideal), class: "ideal" }),
    goal_y !== null && svg("line", { x1: 44, x2: width - 14, y1: goal_y, y2: goal_y, class: "goal" }),
    goal_y !== null && svg("text", { x: 48, y: goal_y - 4, class: "goal-text" }, "goal"),
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

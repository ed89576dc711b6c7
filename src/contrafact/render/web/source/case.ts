// One case: where the model looks, how the image would have to change for another prediction, and the reliability checks.

import { Box } from "./box";
import { followupRow } from "./followup";
import { judgementSection } from "./judgement";
import { liveSection } from "./live";
import { nearestOf } from "./nearest";
import { byId, el, getJson, plural } from "./page";
import { stripSection } from "./strip";
import { type ImageAbout, type MapAbout, type Nearest, type StripAbout, type View } from "./types";
import { volumeSection } from "./volume_section";
import { whereSection } from "./where";

interface CaseAbout {
  id: string; name: string; source: string; model: string; answers: string[]; synthetic: boolean; warnings: string[];
  failures: { method: string; error: string; seconds: number | null }[];
  image: ImageAbout | null; maps: MapAbout[]; strips: StripAbout[]; nearest: Nearest[];
  number: number; of: number; previous: string | null; next: string | null;
}

export async function casePage(): Promise<void> {
  document.addEventListener("keydown", turn);
  const table = location.search;
  const about = await getJson<CaseAbout>(`/api/case/${document.body.dataset.id}${table}`);
  header(about, table);
  const main = byId("parts");
  if (about.image) {
    const [low, high] = about.image.window, redraw: (() => void)[] = [];
    const view: View = { window: { low, high }, aspect: about.image.aspect, redraw };
    if (about.image.slices) view.slice = about.maps[0]?.slice ?? Math.floor(about.image.slices * (about.strips[0]?.telling ?? 0.5));
    const [height, width] = about.image.plane;
    view.box = new Box(width, height, about.image.slices, view.redraw, () => view.slice ?? 0);
    if (!document.body.dataset.live) view.box.why = "the viewer was started without one.";
    for (const [k, strip] of about.strips.entries()) { // what would change the prediction comes first
      main.append(stripSection(strip, view, about.image, k === 0));
      if (strip.followup.length) main.append(followupRow(strip, view));
      main.append(...nearestOf(about.nearest, strip.row, view));
    }
    main.append(whereSection(about.image, about.maps, view));
    if (about.image.slices) main.append(volumeSection(about.image, about.maps, about.strips, view));
    for (const map of about.maps) main.append(...nearestOf(about.nearest, map.row, view));
    main.append(judgementSection(about.id, [...about.strips, ...about.maps].map(one => ({ row: one.row as number, name: `${one.label}, ${one.target_name}` }))));
    if (document.body.dataset.live) main.append(liveSection(about.id, about.image, view, about.nearest, (about.strips.find(s => !s.picture) ?? about.maps[0])?.target ?? ""));
  }
  if (about.failures.length) main.append(failureSection(about));
  byId("waiting").remove();
}

/** N goes to the next case of the list and shift N to the previous one, unless a control takes letters. */
function turn(event: KeyboardEvent): void {
  if (event.key.toLowerCase() !== "n" || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.target instanceof Element && event.target.closest("select, textarea, input:not([type=range], [type=radio], [type=checkbox])")) return;
  const link = byId<HTMLAnchorElement>(event.shiftKey ? "previous" : "next");
  if (link.href) { event.preventDefault(); link.click(); }
}

function header(about: CaseAbout, table: string): void {
  byId("back").setAttribute("href", "/" + table);
  byId("place").textContent = about.number ? `${about.number} of ${about.of}` : "";
  for (const side of ["previous", "next"] as const) {
    const link = byId<HTMLAnchorElement>(side), id = about[side];
    if (id) link.href = `/case/${id}${table}`;
    else { link.removeAttribute("href"); link.setAttribute("aria-disabled", "true"); }
  }
  const image = about.image, facts = [
    about.source,
    about.model && `model ${about.model}`,
    image && image.size.join(" × ") + " px" + (image.shrunk > 1 ? `, shown at 1/${image.shrunk}` : "") + `, ${image.spacing}`,
    about.synthetic && "synthetic image",
  ].filter(Boolean).join(" · ");
  const planted = Object.entries(image?.factors ?? {});
  byId("facts").append(
    el("p", { class: "dim" }, facts),
    about.answers.length > 0 ? el("p", {}, "Prediction: ", el("b", {}, about.answers.join(", ")), ".") : "",
    ...about.warnings.map(text => el("p", { class: "doubt" }, text)),
    planted.length > 0 ? el("p", { class: "dim small" }, "Planted: " + planted.map(([name, value]) =>
      `${name.replaceAll("_", " ")} ${typeof value === "number" ? value.toFixed(2) : value}`).join(", ")) : "");
}

function failureSection(about: CaseAbout): HTMLElement {
  return el("section", { class: "card", "aria-labelledby": "failed" },
    el("h2", { id: "failed" }, `What failed: ${plural(about.failures.length, "result")}`),
    ...about.failures.map(failure => el("p", { class: "doubt" }, el("b", {}, failure.method), ": ", failure.error,
      typeof failure.seconds === "number" && ` (after ${failure.seconds} s)`)));
}

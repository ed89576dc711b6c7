// One case: where the model looks, how the image would have to change for another prediction, and the reliability checks.

import { followupRow } from "./followup";
import { liveSection } from "./live";
import { byId, el, getJson, plural, tell } from "./page";
import { type Window } from "./pixels";
import { stripSection } from "./strip";
import { volumeSection } from "./volume";
import { whereSection } from "./where";

export interface Trust { failed: string[]; passed: string[]; open: string[] }
interface Made {
  row: number | string; method: string; label: string; target: string; target_name: string;
  seconds: number | null; passes: number | null; parameters: unknown; layer: string; trust: Trust;
}
/** scale: the scale shown first; shared, own: the cohort scale and the per-image scale. sign: -1 swaps the colours. */
export interface MapAbout extends Made {
  scale: number; shared: number; own: number; scale_from: [number, number]; scale_words: string; slice: number;
  sign: 1 | -1; orange: string; blue: string; flaw: string;
}
export interface Curve {
  width: number; height: number; points: [number, number][]; ideal: [number, number][];
  x_ticks: [number, string][]; y_ticks: [number, string][]; goal_y: number | null;
}
export interface StripAbout extends Made {
  steps: number[]; scores: number[]; shares: number[] | null; lengths: number[]; origin: number; drift: number;
  drifted: boolean; stopped: string; goal: number | null; picture: boolean; unit: string; reason: string; engine: string;
  doubtful: boolean; aspect: number; curve: Curve; followup: { name: string; answer: string }[];
  heading: string; second: string; tone: "good" | "plain" | "warn"; before_after: string; kinds: string[]; levels: string[];
  table: { kind: string; level: string; score: string; requested: string; achieved: string; distance: string }[];
  difference: { scale: number; words: string; last: string };
}
export interface ImageAbout {
  row: number; channels: number; size: number[]; slices: number; shrunk: number; aspect: number;
  window: [number, number]; range: [number, number]; factors: Record<string, number>; spacing: string;
}
interface CaseAbout {
  id: string; name: string; source: string; model: string; answers: string[]; synthetic: boolean;
  failures: { method: string; error: string; seconds: number | null }[];
  image: ImageAbout | null; maps: MapAbout[]; strips: StripAbout[];
  number: number; of: number; previous: string | null; next: string | null;
}

/** State that the parts of the page share: the window, and the slice of a volume. */
export interface View {
  window: Window; aspect: number; slice?: number; redraw: (() => void)[];
  moved?: (at: number) => void; // called with the frame shown
}

export async function casePage(): Promise<void> {
  const table = location.search;
  const about = await getJson<CaseAbout>(`/api/case/${document.body.dataset.id}${table}`);
  header(about, table);
  const main = byId("parts");
  if (about.image) {
    const [low, high] = about.image.window, redraw: (() => void)[] = [];
    const view: View = { window: { low, high }, aspect: about.image.aspect, redraw };
    if (about.image.slices) view.slice = about.maps[0]?.slice ?? Math.floor(about.image.slices / 2);
    main.append(whereSection(about.image, about.maps, view));
    if (about.image.slices) main.append(volumeSection(about.image, about.maps, about.strips, view));
    for (const strip of about.strips) {
      main.append(stripSection(strip, view));
      if (strip.followup.length) main.append(followupRow(strip, view));
    }
    if (document.body.dataset.token) main.append(liveSection(about.id, about.image, view));
  }
  if (about.failures.length) main.append(failureSection(about));
  byId("waiting").remove();
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
    planted.length > 0 ? el("p", { class: "dim small" }, "Planted: " + planted.map(([name, value]) =>
      `${name.replaceAll("_", " ")} ${typeof value === "number" ? value.toFixed(2) : value}`).join(", ")) : "");
}

function failureSection(about: CaseAbout): HTMLElement {
  return el("section", { class: "card", "aria-labelledby": "failed" },
    el("h2", { id: "failed" }, `What failed: ${plural(about.failures.length, "result")}`),
    ...about.failures.map(failure => el("p", { class: "doubt" }, el("b", {}, failure.method), ": ", failure.error,
      typeof failure.seconds === "number" && ` (after ${failure.seconds} s)`)));
}

/** The reliability checks of a result: failed ones as warnings, then passed ones, then those that were not run. */
export function trustCard(trust: Trust): HTMLElement {
  const none = !(trust.failed.length || trust.passed.length || trust.open.length);
  return el("div", { class: "trust", role: "group", "aria-label": "reliability checks" },
    el("h3", {}, "Reliability checks"),
    none && el("p", { class: "dim" }, "This result has no reliability checks."),
    ...trust.failed.map(text => el("p", { class: "doubt" }, el("b", {}, "Warning: "), text)),
    trust.passed.length > 0 && el("p", { class: "passed" }, el("b", {}, "Passed: "), trust.passed.join(", "), "."),
    trust.open.length > 0 && el("details", {}, el("summary", {}, `Not checked: ${trust.open.length}`),
      ...trust.open.map(text => el("p", { class: "dim small" }, text))));
}

export function madeBy(made: { seconds: number | null; passes: number | null; parameters: unknown; layer?: string }): HTMLElement {
  const cost = [
    made.seconds !== null && `${made.seconds.toFixed(2)} s`,
    made.passes !== null && plural(Math.round(made.passes), "pass", "passes") + " through the model",
  ].filter(Boolean).join(", ");
  const how = made.layer ? `Made in ${cost}, from ${made.layer}` : `Made in ${cost}`;
  return el("details", {}, el("summary", {}, how), el("pre", {}, JSON.stringify(made.parameters, null, 1)));
}

/** A labelled slider; `say` gives the text of a value, for the page and for screen readers. */
export function slider(
  label: string, range: { min: number; max: number; step: number | "any"; value: number },
  say: (value: number) => string, moved: (value: number) => void,
): { box: HTMLElement; input: HTMLInputElement; set: (value: number) => void } {
  const input = el("input", { type: "range", ...range });
  const shown = el("output", {}, say(range.value));
  const tellValue = () => { const text = say(Number(input.value)); shown.textContent = text; input.setAttribute("aria-valuetext", text); };
  input.addEventListener("input", () => { tellValue(); moved(Number(input.value)); });
  tellValue();
  const box = el("label", { class: "slider" }, el("span", {}, label), input, shown);
  return { box, input, set: value => { input.value = String(value); tellValue(); } };
}

export function choice(
  legend: string, options: [string, string][], chosen: string, picked: (value: string) => void,
): HTMLFieldSetElement {
  const name = `choice-${++choices}`;
  const box = el("fieldset", { class: "choice" }, el("legend", {}, legend),
    ...options.map(([value, text]) => el("label", {},
      el("input", { type: "radio", name, value, checked: value === chosen }), el("span", {}, text))));
  box.addEventListener("change", event => picked((event.target as HTMLInputElement).value));
  return box;
}
let choices = 0;

/** Paint at most once per frame of the screen, and show errors. */
export function painter(paint: () => Promise<void>): () => void {
  let waiting = false, again = false;
  const run = async (): Promise<void> => {
    waiting = true;
    try { await paint(); } catch (error) { tell(error); }
    waiting = false;
    if (again) { again = false; ask(); }
  };
  const ask = (): void => { if (waiting) again = true; else { waiting = true; requestAnimationFrame(run); } };
  return ask;
}

// Controls and boxes that several parts of a page use.

import { el, plural, tell } from "./page";
import { type Trust } from "./types";

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

let painting = 0;
/** Count pictures that are asked for and not yet painted; the page carries `data-painting` while there are any. */
function count(by: number): void {
  painting += by;
  document.documentElement.toggleAttribute("data-painting", painting > 0);
}

/** Paint at most once per frame of the screen, and show errors. */
export function painter(paint: () => Promise<void>): () => void {
  let waiting = false, again = false;
  const run = async (): Promise<void> => {
    try { await paint(); } catch (error) { tell(error); }
    waiting = false;
    if (again) { again = false; ask(); }
    count(-1);
  };
  const ask = (): void => {
    if (waiting) { again = true; return; }
    waiting = true;
    count(1);
    requestAnimationFrame(run);
  };
  return ask;
}

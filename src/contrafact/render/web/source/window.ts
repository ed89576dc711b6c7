// Window and level, with presets, and the slice of a volume. Every part of a page that shows the image has these
// controls; they move together.

import { slider } from "./controls";
import { el, short } from "./page";
import { type ImageAbout, type View } from "./types";

export type Windowed = Pick<ImageAbout, "window" | "range" | "plane" | "slices" | "presets" | "letters" | "mm">;

/** Controls of the window; a drag on the stages changes it too, unless `data-drag` says that it moves something else. */
export function windowControls(image: Windowed, view: View, ...stages: HTMLElement[]): HTMLElement[] {
  const [low, high] = image.window, span = Math.max(image.range[1] - image.range[0], high - low, 1e-6);
  const least = Math.min(image.range[0], low), most = Math.max(image.range[1], high);
  const centre = () => (view.window.low + view.window.high) / 2, width = () => view.window.high - view.window.low;
  const put = (first: number, last: number): void => {
    view.window.low = first;
    view.window.high = last;
    view.redraw.forEach(again => again());
  };
  const set = (middle: number, wide: number): void => {
    const kept = Math.max(span / 256, Math.min(2 * span, wide)), at = Math.max(least, Math.min(most, middle));
    put(at - kept / 2, at + kept / 2);
  };
  const level = slider("Level", { min: least, max: most, step: "any", value: centre() }, short, v => set(v, width()));
  const wider = slider("Window", { min: span / 256, max: 2 * span, step: "any", value: width() }, short, v => set(centre(), v));
  const presets = el("select", {}, ...image.presets.map(([name], k) => el("option", { value: k }, name)), el("option", { value: "own", hidden: true }, "own"));
  presets.addEventListener("change", () => {
    const preset = image.presets[Number(presets.value)];
    if (preset) put(preset[1], preset[2]);
  });
  const told = (): void => { // also of what another part of the page has set
    level.set(centre());
    wider.set(width());
    const is = image.presets.findIndex(([, first, last]) => Math.abs(first - view.window.low) + Math.abs(last - view.window.high) < 1e-6 * span);
    presets.value = is < 0 ? "own" : String(is);
  };
  view.redraw.push(told);
  told();
  const reset = el("button", { type: "button" }, "Reset window");
  reset.addEventListener("click", () => put(low, high));
  let from: { x: number; y: number; middle: number; wide: number } | null = null;
  for (const stage of stages) {
    stage.addEventListener("pointerdown", event => {
      const other = (stage.dataset.drag && stage.dataset.drag !== "window") || (event.shiftKey && view.box);
      if (event.pointerType === "touch" || event.button !== 0 || other) return; // a finger scrolls
      from = { x: event.clientX, y: event.clientY, middle: centre(), wide: width() };
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", event => {
      if (from) set(from.middle + (event.clientY - from.y) / 300 * span, from.wide + (event.clientX - from.x) / 300 * span);
    });
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { from = null; });
  }
  return [el("label", { class: "pick" }, "Window preset", presets), level.box, wider.box, reset];
}

/** The slice of a volume; null for an image. */
export function sliceControl(image: Pick<ImageAbout, "slices">, view: View): ReturnType<typeof slider> | null {
  if (view.slice === undefined || image.slices < 2) return null;
  const made = slider("Slice", { min: 0, max: image.slices - 1, step: 1, value: view.slice },
    at => `${at + 1} of ${image.slices}`, at => { view.slice = at; view.redraw.forEach(again => again()); });
  view.redraw.push(() => made.set(view.slice!));
  return made;
}

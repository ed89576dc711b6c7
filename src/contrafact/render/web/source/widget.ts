// The viewer's counterfactual control in a notebook: values come from the kernel, styles stay in a shadow root.

import { slider } from "./controls";
import { type StripAbout, type View } from "./types";
import { el } from "./page";
import sheet from "./pages.css";
import { provided, type Values } from "./pixels";
import { stripSection } from "./strip";

interface Model {
  get(name: string): any;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, heard: () => void): void;
  off(event: string, heard: () => void): void;
}

// The styles of the pages, with the widget as root and the width of the notebook cell.
const STYLE = ":host{display:block;container-type:inline-size;color-scheme:dark}"
  + sheet.replace(":root{", ":host{").replace(/(^|\n)body\{/, "$1.page{").replaceAll("@media(max-width:", "@container (max-width:")
  + ".page{border-radius:10px}.page .card{margin:0}";
let rows = 0;

function floats(bytes: DataView): Float32Array {
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

function render({ model, el: place }: { model: Model; el: HTMLElement }): () => void {
  const root = place.attachShadow({ mode: "open" }), row = ++rows;
  place.dataset.lmSuppressShortcuts = "true"; // M changes the comparison mode and must not turn the cell into Markdown
  const shape: number[] = model.get("shape");
  provided.set(row, async (name: string): Promise<Values> => name === "frames"
    ? { shape: model.get("shape"), data: floats(model.get("frames")) }
    : { shape: shape.slice(1), data: floats(model.get("reconstruction")) });
  const [low, high] = model.get("window") as [number, number];
  const strip: StripAbout = { ...model.get("about"), row };
  let told = NaN;
  const tell = (at: number): void => {
    if (Number.isNaN(told) || Math.abs(at - told) < 1e-6) return;
    told = at;
    model.set("position", at);
    model.save_changes();
  };
  const view: View = { window: { low, high }, aspect: model.get("aspect"), redraw: [], moved: at => tell(at) };
  const section = stripSection(strip, view), parts: Node[] = [section];
  const frame = section.querySelector<HTMLInputElement>(".frames input")!;
  const last = strip.order.length - 1, shownAt = (at: number): number => strip.order[0] ? last - at : at; // frames may run backwards
  const turned = (): void => view.redraw.forEach(again => again());
  const moved = (): void => {
    const at = model.get("position") as number;
    if (Math.abs(at - told) < 1e-6) return;
    told = at;
    frame.value = String(shownAt(at));
    frame.dispatchEvent(new Event("input"));
  };
  if (model.get("slices") > 0) {
    const at = slider("Slice", { min: 0, max: model.get("slices") - 1, step: 1, value: model.get("slice") },
      k => `${k + 1} of ${model.get("slices")}`, k => { model.set("slice", k); model.save_changes(); });
    parts.unshift(el("div", { class: "card" }, at.box));
    view.slice = 0; // the kernel selects the slice
  }
  model.on("change:frames", turned);
  model.on("change:position", moved);
  told = shownAt(Number(frame.value));
  moved();
  root.append(el("style", {}, STYLE), el("div", { class: "page" }, ...parts));
  return () => {
    provided.delete(row);
    model.off("change:frames", turned);
    model.off("change:position", moved);
  };
}

export default { render };

// Mean changes: what the counterfactuals of a group of cases change on the average. Summed when one asks for it.

import { part, type Filters, type Link } from "./cohort_parts";
import { el, getJson, plural, short, tell } from "./page";

interface Tile { words: string; towards: string; filters: Filters; picture: string; count: number; slice: string; few: boolean; without: string }
interface Means { done: number; of: number; scale: number; tiles: Tile[] }

export function meansPart(changes: number, ways: string[], of: Filters, link: Link, marked: boolean): HTMLElement {
  const by = el("select", {}, ...ways.map(way => el("option", { value: way }, way)));
  const hint = marked ? null : el("p", { class: "dim small" }, "Flips that change mostly what lies outside the anatomy are counted where a mask of it is given: ",
    el("code", {}, "contrafact explain … --labels 'masks/{stem}.png'"), ", or in a study the metric change-share.");
  const status = el("p", { class: "dim", role: "status" }), tiles = el("div", { class: "tiles" });
  const bar = el("progress", { "aria-label": "counterfactuals that are summed", hidden: true });
  const box = part("means", [el("b", {}, "Mean changes"), ` of ${plural(changes, "counterfactual")}`], false,
    ways.length > 1 ? el("label", { class: "pick" }, "One picture for each", by) : null, bar, status, tiles, hint);
  let turn = 0;
  const load = async (): Promise<void> => {
    const mine = ++turn;
    tiles.replaceChildren();
    bar.hidden = false;
    bar.removeAttribute("value");
    status.textContent = "reading the counterfactuals …";
    for (;;) {
      const found = await getJson<Means>(`/api/means?${new URLSearchParams({ ...of, by: by.value })}`);
      if (mine !== turn || !box.open) return;
      bar.max = found.of;
      bar.value = found.done;
      status.textContent = `${found.done} of ${plural(found.of, "counterfactual")}`;
      if (found.done < found.of) continue;
      bar.hidden = true;
      status.textContent = `Orange is brighter, blue darker on the average, over the mean image; full colour is ±${short(100 * found.scale)} % of the display window.`;
      tiles.replaceChildren(...found.tiles.map(tile => figure(tile, link)));
      return;
    }
  };
  box.addEventListener("toggle", () => { if (box.open) load().catch(tell); });
  by.addEventListener("change", () => { load().catch(tell); });
  return box;
}

function figure(tile: Tile, link: Link): HTMLElement {
  const words = `${tile.words}, changed ${tile.towards}`;
  return el("figure", {},
    el("img", { src: `/mean/${tile.picture}.png`, alt: `mean change: ${words}`, loading: "lazy" }),
    el("figcaption", {}, link({ ...tile.filters, change: "any" }, {}, tile.words), el("span", { class: "block" }, `changed ${tile.towards}`),
      el("span", { class: "dim small block" }, [`${tile.few ? "only " : ""}${plural(tile.count, "case")}${tile.few ? ", so single ones stand out" : ""}`, tile.slice].filter(Boolean).join(", ") + `. ${tile.without}`)));
}

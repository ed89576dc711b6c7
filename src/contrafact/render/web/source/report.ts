// The report: the controls of the case page with embedded arrays. On paper, and where scripts do not run, still
// pictures replace them.

import { type ImageAbout, type MapAbout, type Nearest, type StripAbout, type View } from "./types";
import { opened, type Carried } from "./carried";
import { followupRow } from "./followup";
import { nearestOf } from "./nearest";
import { el, tell } from "./page";
import { give } from "./pixels";
import { stripSection } from "./strip";
import { whereSection } from "./where";

interface Moves {
  about: { image: ImageAbout | null; maps: MapAbout[]; strips: StripAbout[]; nearest: Nearest[] };
  arrays: Record<string, Carried | { same: string }>;
}

function liven(section: HTMLElement): void {
  const { about, arrays } = JSON.parse(section.querySelector("script")!.textContent!) as Moves;
  for (const [address, found] of Object.entries(arrays))
    give(address, () => opened("same" in found ? arrays[found.same] as Carried : found));
  if (!about.image) return;
  const [low, high] = about.image.window, moving = el("div", { class: "moving" });
  const view: View = { window: { low, high }, aspect: about.image.aspect, redraw: [] };
  for (const strip of about.strips) {
    moving.append(stripSection(strip, view, about.image));
    if (strip.followup.length) moving.append(followupRow(strip, view));
    moving.append(...nearestOf(about.nearest, strip.row, view));
  }
  moving.append(whereSection(about.image, about.maps, view));
  for (const map of about.maps) moving.append(...nearestOf(about.nearest, map.row, view));
  for (const part of moving.querySelectorAll("section")) { // the case is the landmark; ids would occur several times
    part.removeAttribute("aria-labelledby");
    part.removeAttribute("aria-label");
    part.querySelector("h2")!.removeAttribute("id");
  }
  section.querySelector("details.all")!.append(moving);
  section.classList.add("alive");
}

for (const section of document.querySelectorAll<HTMLElement>("section.case")) { // a case comes alive when it is opened
  const all = section.querySelector<HTMLDetailsElement>("details.all");
  all?.addEventListener("toggle", () => {
    if (!all.open || section.classList.contains("alive") || !section.querySelector("script")) return;
    try { liven(section); } catch (error) { tell(error); }
  });
}

/** Open what the address points at. */
function unfold(): void {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const part = target && (target.closest("details") ?? target.querySelector("details") ?? target.closest("section")?.querySelector("details"));
  if (part) part.open = true;
}
addEventListener("hashchange", unfold);
unfold();

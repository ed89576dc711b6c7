// The table of cases: the server filters and sorts it and sends fifty lines at a time.

import { aboveList, chosenWords, FIELDS } from "./cohort_above";
import { type Filters } from "./cohort_parts";
import { byId, el, getJson, plural, tell } from "./page";

interface Line {
  id: string; name: string; source: string; answers: string[]; synthetic: boolean; targets: string[];
  maps: number; strips: number; ends: string[]; doubts: string[]; failures: string[]; thumbnail: number | null;
  change: number | null;
}
interface Answer { cases: Line[]; found: number; all: number; failures: number; doubts: number }

const COUNT = 50;
const ENDS: Record<string, string> = {
  reached: "goal reached", already: "already met", budget: "budget exhausted", search: "not found",
  no_change: "no response", steps: "fixed steps", flips: "flips, goal not reached",
};

export function cohortPage(): void {
  const words = byId<HTMLInputElement>("words"), show = byId<HTMLSelectElement>("show");
  const sort = byId<HTMLSelectElement>("sort"), body = byId<HTMLTableSectionElement>("lines");
  const status = byId("status"), more = byId<HTMLButtonElement>("more");
  const asked = new URLSearchParams(location.search);
  words.value = asked.get("q") ?? "";
  show.value = asked.get("show") ?? "all";
  sort.value = asked.get("sort") ?? "problems";
  if (!show.value) show.value = "all";
  if (!sort.value) sort.value = "problems";
  let filters: Filters = Object.fromEntries(FIELDS.flatMap(name => asked.get(name) ? [[name, asked.get(name) ?? ""]] : []));
  let shown = 0, found = Infinity, turn = 0, busy = false;

  const query = (): URLSearchParams => {
    const chosen = new URLSearchParams();
    if (words.value.trim()) chosen.set("q", words.value.trim());
    if (show.value !== "all") chosen.set("show", show.value);
    if (sort.value !== "problems") chosen.set("sort", sort.value);
    for (const [name, value] of Object.entries(filters)) chosen.set(name, value);
    return chosen;
  };

  const load = async (fresh: boolean): Promise<void> => {
    if (!fresh && (busy || shown >= found)) return;
    const mine = fresh ? ++turn : turn;
    const from = fresh ? 0 : shown;
    busy = true;
    try {
      const wanted = query(), table = wanted.toString();
      wanted.set("from", String(from));
      wanted.set("count", String(COUNT));
      const answer = await getJson<Answer>(`/api/cases?${wanted}`);
      if (mine !== turn) return; // a newer request was sent meanwhile
      const lines = answer.cases.map(line => row(line, table));
      if (fresh) body.replaceChildren(...lines); else body.append(...lines);
      shown = from + lines.length;
      found = answer.found;
      status.textContent = summary(answer);
      say();
      more.hidden = shown >= found;
      more.textContent = `Show more (${found - shown} left)`;
      if (fresh) history.replaceState(null, "", table ? `?${table}` : location.pathname);
    } catch (error) {
      tell(error);
    } finally {
      if (mine === turn) busy = false;
    }
  };

  const only = (wanted: Filters): void => {
    filters = wanted;
    void load(true);
    byId("cases").focus({ preventScroll: true });
    byId("cases").scrollIntoView();
  };
  const say = (): void => {
    const words = chosenWords(filters), place = byId("chosen");
    place.hidden = !words;
    const clear = el("button", { type: "button" }, "Show all cases");
    clear.addEventListener("click", () => only({}));
    place.replaceChildren(...words ? ["Only cases ", el("b", {}, words), ". ", clear] : []);
  };

  let wait = 0;
  words.addEventListener("input", () => { clearTimeout(wait); wait = window.setTimeout(() => load(true), 150); });
  for (const choice of [show, sort]) choice.addEventListener("change", () => load(true));
  more.addEventListener("click", async () => {
    const before = body.rows.length;
    await load(false);
    body.rows[before]?.querySelector("a")?.focus();
  });
  new IntersectionObserver(seen => { if (seen.some(s => s.isIntersecting) && shown) load(false); },
    { rootMargin: "600px" }).observe(more);
  byId("filters").addEventListener("submit", event => event.preventDefault());
  document.addEventListener("keydown", event => {
    if (event.key === "/" && document.activeElement === document.body) { event.preventDefault(); words.focus(); }
  });
  void load(true).then(() => aboveList(only)).catch(tell);
}

function summary(answer: Answer): string {
  const part = answer.found === answer.all ? plural(answer.all, "case") : `${answer.found} of ${plural(answer.all, "case")}`;
  return `${part} · ${answer.failures} with failures · ${answer.doubts} with warnings`;
}

function row(line: Line, table: string): HTMLTableRowElement {
  const link = `/case/${line.id}${table ? "?" + table : ""}`;
  const picture = line.thumbnail === null
    ? el("span", { class: "blank", "aria-hidden": "true" })
    : el("img", { src: `/thumbnail/${line.thumbnail}.png`, alt: "", loading: "lazy", width: 56, height: 56 });
  const change = line.change !== null
    && el("img", { src: `/change/${line.change}.png`, alt: "what the counterfactual changes", loading: "lazy", width: 56, height: 56 });
  const cell = (label: string, ...children: (Node | string | null)[]) =>
    el("td", { role: "cell", "data-label": label }, ...children.map(c => c ?? ""));
  return el("tr", { role: "row" },
    el("td", { role: "cell", class: "picture" }, el("span", { class: "pictures-of" }, picture, change)),
    el("th", { role: "rowheader", scope: "row" }, el("a", { href: link }, line.name),
      line.source && el("span", { class: "dim small block" }, line.source),
      line.synthetic && el("span", { class: "small block warn-text" }, "synthetic image")),
    cell("prediction", ...line.answers.map(a => el("span", { class: "block" }, a))),
    cell("target", line.targets.join(", ")),
    cell("heatmaps", String(line.maps)),
    cell("counterfactuals", line.ends.length ? line.ends.map(end => ENDS[end] ?? end).join(", ") : "none"),
    cell("warnings", list(line.doubts, "doubt", "warning")),
    cell("failures", list(line.failures, "failure", "failure")));
}

/** The first entry and the number of the others; `style` is a class of the style sheet. */
function list(found: string[], style: string, kind: string): Node {
  if (!found.length) return el("span", { class: "dim" }, "none");
  const first = found[0].length > 90 ? found[0].slice(0, 88) + "…" : found[0];
  return el("span", { class: style, title: found.join("\n") }, el("b", {}, plural(found.length, kind)), " ",
    el("span", { class: "small block" }, first + (found.length > 1 ? `; ${found.length - 1} more` : "")));
}

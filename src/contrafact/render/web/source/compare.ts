// The cases of two models: their predictions, and how much predictions and heatmaps differ.

import { byId, el, getJson, plural, tell } from "./page";

export interface Apart { name: string; value: number; unit: "points" | "share" | "units"; other: boolean | null }
interface Line {
  id: string; name: string; source: string; thumbnail: number; answers: string[][]; apart: Apart | null;
  maps: number | null; doubts: number[]; failures: number[];
}
interface Answer {
  lines: Line[]; found: number; all: number; left: number; models: string[]; chosen: [string, string]; methods: string[]; method: string;
}
const COUNT = 50;
const NAMES = ["a", "b", "method", "sort"] as const;

export function comparePage(): void {
  const pick = Object.fromEntries(NAMES.map(name => [name, byId<HTMLSelectElement>(name)])) as Record<typeof NAMES[number], HTMLSelectElement>;
  const words = byId<HTMLInputElement>("words"), body = byId<HTMLTableSectionElement>("lines");
  const status = byId("status"), more = byId<HTMLButtonElement>("more");
  const asked = new URLSearchParams(location.search);
  words.value = asked.get("q") ?? "";
  if (asked.get("sort")) pick.sort.value = asked.get("sort")!;
  let shown = 0, turn = 0;

  const query = (): URLSearchParams => {
    const chosen = new URLSearchParams();
    for (const name of NAMES) {
      const value = pick[name].value || asked.get(name) || "";
      if (value && !(name === "sort" && value === "answers")) chosen.set(name, value);
    }
    if (words.value.trim()) chosen.set("q", words.value.trim());
    return chosen;
  };

  /** Load the rows from a position on and replace those that are there. */
  const load = async (from: number): Promise<void> => {
    const mine = ++turn;
    try {
      const wanted = query(), table = wanted.toString();
      wanted.set("from", String(from));
      wanted.set("count", String(COUNT));
      const answer = await getJson<Answer>(`/api/compare?${wanted}`);
      if (mine !== turn) return; // a newer request was sent meanwhile
      fill(pick, answer);
      const lines = answer.lines.map(line => row(line, table, answer.chosen));
      body.replaceChildren(...[...body.rows].slice(0, from), ...lines);
      shown = from + lines.length;
      more.hidden = shown >= answer.found || answer.left > 0; // until then the order may change
      more.textContent = `Show more (${answer.found - shown} left)`;
      status.textContent = (answer.found === answer.all ? plural(answer.all, "case") : `${answer.found} of ${plural(answer.all, "case")}`)
        + ` of both models${answer.left ? ` · comparing maps, ${answer.left} left` : ""}`;
      if (from === 0) history.replaceState(null, "", `?${table}`);
      if (answer.left) await load(from); // the server compares maps a few seconds at a time
    } catch (error) {
      tell(error);
    }
  };

  let wait = 0;
  words.addEventListener("input", () => { clearTimeout(wait); wait = window.setTimeout(() => load(0), 150); });
  for (const name of NAMES) pick[name].addEventListener("change", () => {
    if (name === "a" && pick.a.value === pick.b.value) pick.b.value = other(pick.b, pick.a.value);
    if (name === "b" && pick.a.value === pick.b.value) pick.a.value = other(pick.a, pick.b.value);
    if (name === "a" || name === "b") { // these two may share other methods
      asked.delete("method");
      pick.method.replaceChildren();
    }
    load(0);
  });
  more.addEventListener("click", async () => {
    const before = body.rows.length;
    await load(shown);
    body.rows[before]?.querySelector("a")?.focus();
  });
  byId("filters").addEventListener("submit", event => event.preventDefault());
  document.addEventListener("keydown", event => {
    if (event.key === "/" && document.activeElement === document.body) { event.preventDefault(); words.focus(); }
  });
  load(0);
}

const other = (select: HTMLSelectElement, taken: string): string => [...select.options].find(o => o.value !== taken)!.value;

function fill(pick: Record<"a" | "b" | "method", HTMLSelectElement>, answer: Answer): void {
  const lists = { a: answer.models, b: answer.models, method: answer.methods };
  const chosen = { a: answer.chosen[0], b: answer.chosen[1], method: answer.method };
  for (const name of ["a", "b", "method"] as const) {
    const there = [...pick[name].options].map(option => option.value);
    if (there.length !== lists[name].length || there.some((text, k) => text !== lists[name][k]))
      pick[name].replaceChildren(...lists[name].map(text => el("option", { value: text }, text)));
    pick[name].value = chosen[name];
  }
  byId("says-a").textContent = `prediction of ${answer.chosen[0]}`;
  byId("says-b").textContent = `prediction of ${answer.chosen[1]}`;
}

function row(line: Line, table: string, models: [string, string]): HTMLTableRowElement {
  const cell = (label: string, ...children: (Node | string | false)[]) =>
    el("td", { role: "cell", "data-label": label }, ...children);
  const doubts = line.doubts.map((count, k) => count || line.failures[k]
    ? `${models[k]}: ${plural(count, "warning")}${line.failures[k] ? `, ${plural(line.failures[k], "failure")}` : ""}` : "").filter(Boolean);
  return el("tr", { role: "row" },
    el("td", { role: "cell", class: "picture" },
      el("img", { src: `/thumbnail/${line.thumbnail}.png`, alt: "", loading: "lazy", width: 56, height: 56 })),
    el("th", { role: "rowheader", scope: "row" }, el("a", { href: `/compare/${line.id}?${table}` }, line.name),
      line.source !== line.name && el("span", { class: "dim small block" }, line.source)),
    ...line.answers.map((said, k) => cell(`prediction of ${models[k]}`, ...said.map(text => el("span", { class: "block" }, text)))),
    cell("difference of predictions", line.apart ? apartWords(line.apart) : el("span", { class: "dim" }, "not comparable"),
      line.apart?.other === true && el("b", { class: "block warn-text" }, "different classes")),
    cell("map distance", line.maps === null ? el("span", { class: "dim" }, "not compared") : line.maps.toFixed(2)),
    cell("warnings", doubts.length ? doubts.join("; ") : el("span", { class: "dim" }, "none")));
}

export function apartWords(apart: Apart): string {
  const size = { points: `${apart.value.toFixed(0)} points`, share: `${(100 * apart.value).toFixed(0)} % of the region`,
    units: apart.value.toPrecision(3) }[apart.unit];
  return `${size} (${apart.name})`;
}

// Above the list of cases: truth and prediction, figures by subgroup, flips outside the anatomy, and mean changes.

import { part, type Filters, type Link } from "./cohort_parts";
import { meansPart } from "./mean_changes";
import { byId, el, getJson, plural, svg, tell } from "./page";

type Only = (filters: Filters) => void;
/** The filters of a link here, which a case page keeps in its address. */
export const FIELDS = ["model", "truth", "predicted", "column", "group", "answer", "change"];

interface Cell { predicted: string; count: number; share: number; right: boolean | null; thumbnails: number[] }
interface Grid {
  predicted: string[]; rows: { truth: string; known: boolean; cells: Cell[] }[];
  right: number; compared: number; share: number | null; patients: number; interval: [number, number] | null; unlabelled: number; unknown: string;
}
interface Value { value: number | null; interval: [number, number] | null; patients: number; few: boolean; behind: Filters; count: number; word: string }
interface Group { name: string; cases: number; values: Record<string, Value> }
interface Summary {
  model: string; models: string[]; total: number; labelled: number; grid: Grid | null;
  figures: { key: string; title: string }[]; all: Group; columns: { name: string; groups: Group[] }[]; unused: string;
  differing: { figure: string; filters: Filters; share: number; others: number }[];
  outside: { outside: number; of: number } | null; changes: number; ways: string[];
}

const CHANGES: Filters = {
  any: "with a change", flipped: "whose prediction flips", unflipped: "whose prediction does not flip",
  confirmed: "with a flip that a second model confirms", unconfirmed: "with a flip that a second model does not confirm",
  outside: "with a flip that lies mostly outside the anatomy",
};
const ANSWERS: Filters = { right: "predicted right", wrong: "predicted wrong", unlabelled: "without a label" };

export function chosenWords(filters: Filters): string {
  return [
    filters.model && `of the model ${filters.model}`,
    filters.truth && `labelled ${filters.truth}`,
    filters.predicted && `predicted ${filters.predicted}`,
    filters.column && `with ${filters.column} ${filters.group}`,
    filters.answer && (ANSWERS[filters.answer] ?? filters.answer),
    filters.change && (CHANGES[filters.change] ?? filters.change),
  ].filter(Boolean).join(", ");
}

export async function aboveList(only: Only, model = new URLSearchParams(location.search).get("model") ?? ""): Promise<void> {
  const about = await getJson<Summary>(`/api/cohort?${new URLSearchParams(model ? { model } : {})}`);
  const of: Filters = about.models.length > 1 ? { model: about.model } : {}, link = links(only, of);
  const parts = [
    about.grid && truthPart(about.grid, link),
    about.columns.length > 0 && subgroupPart(about, link),
    about.outside && outsidePart(about.outside, link),
    about.changes > 1 && meansPart(about.changes, about.ways, of, link, about.outside !== null),
  ].filter((part): part is HTMLElement => Boolean(part));
  const place = byId("above");
  place.hidden = byId("cases").hidden = !parts.length;
  place.replaceChildren(...parts.length && about.models.length > 1 ? [modelChoice(about, only)] : [], ...parts);
}

/** A link to the cases of a filter: it opens in a new tab as any link, and a click filters the list below. */
function links(only: Only, of: Filters): Link {
  return (filters, attributes, ...children) => {
    const wanted = { ...of, ...filters };
    const link = el("a", { href: `/?${new URLSearchParams(wanted)}`, ...attributes }, ...children);
    link.addEventListener("click", event => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      only(wanted);
    });
    return link;
  };
}

function modelChoice(about: Summary, only: Only): HTMLElement {
  const select = el("select", {}, ...about.models.map(name => el("option", { value: name, selected: name === about.model }, name)));
  select.addEventListener("change", () => {
    aboveList(only, select.value).then(() => byId("above").querySelector("select")?.focus()).catch(tell);
  });
  return el("label", { class: "pick" }, "Model", select);
}

/** A whole percentage; what only rounds to 0 or 100 is <1 or >99. */
function whole(share: number): string {
  if (share > 0 && share <= 0.005) return "<1";
  return share < 1 && share >= 0.995 ? ">99" : String(Math.round(100 * share));
}

function percent(share: number): string {
  return `${whole(share)} %`;
}

function range(interval: [number, number] | null): string {
  return interval ? `${whole(interval[0])} to ${percent(interval[1])}` : "";
}

function truthPart(grid: Grid, link: Link): HTMLElement {
  const title: (Node | string)[] = [el("b", {}, "Truth and prediction")];
  if (grid.share !== null) title.push(`: ${grid.right} of ${plural(grid.compared, "case")} right `, el("span", { class: "dim" },
    `(${percent(grid.share)}${grid.patients < grid.compared ? ` over ${plural(grid.patients, "patient")}` : ""}, 95 % interval ${range(grid.interval)})`));
  const cell = (truth: string, one: Cell): HTMLElement => el("td", { role: "cell", "data-label": `predicted ${one.predicted}` },
    one.count ? link({ truth, predicted: one.predicted }, { class: one.right === null ? "" : one.right ? "is-right" : "is-wrong" },
      el("span", { class: "count" }, String(one.count)),
      el("span", { class: "dim small" }, `${percent(one.share)} of the row${one.right === null ? "" : one.right ? ", right" : ", wrong"}`),
      el("span", { class: "few-of" }, ...one.thumbnails.map(row =>
        el("img", { src: `/thumbnail/${row}.png`, alt: "", loading: "lazy", width: 72, height: 72 }))))
      : el("span", { class: "none dim" }, "0"));
  const table = el("table", { class: "truth", role: "table", "aria-label": "cases by label and prediction" },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, el("th", { role: "columnheader", scope: "col" }, "label"),
      ...grid.predicted.map(name => el("th", { role: "columnheader", scope: "col" }, `predicted ${name}`)))),
    el("tbody", { role: "rowgroup" }, ...grid.rows.map(row => el("tr", { role: "row" },
      el("th", { role: "rowheader", scope: "row" }, `labelled ${row.truth}`), ...row.cells.map(one => cell(row.truth, one))))));
  return part("truth", title, true,
    el("div", { class: "wide", role: "region", "aria-label": "truth and prediction", tabindex: 0 }, table),
    grid.unknown ? el("p", { class: "dim" }, grid.unknown) : null,
    grid.unlabelled ? el("p", { class: "dim" }, link({ answer: "unlabelled" }, {}, plural(grid.unlabelled, "case")),
      grid.unlabelled === 1 ? " has no label." : " have no label.") : null);
}

function subgroupPart(about: Summary, link: Link): HTMLElement {
  const names = about.columns.map(column => column.name).join(", ");
  const row = (group: Group, filters: Filters): HTMLElement => el("tr", { role: "row" },
    el("th", { role: "rowheader", scope: "row" }, link(filters, {}, group.name || "all cases")),
    el("td", { role: "cell", "data-label": "cases" }, String(group.cases)),
    ...about.figures.map(figure => el("td", { role: "cell", "data-label": figure.title },
      ...valueOf(group.values[figure.key], about.all.values[figure.key], filters, link))));
  const columns = 2 + about.figures.length;
  const table = el("table", { class: "subgroups", role: "table", "aria-label": "figures by subgroup" },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...["subgroup", "cases", ...about.figures.map(f => f.title)].map(title =>
      el("th", { role: "columnheader", scope: "col" }, title)))),
    el("tbody", { role: "rowgroup" }, row(about.all, {})),
    ...about.columns.map(column => el("tbody", { role: "rowgroup" },
      el("tr", { role: "row" }, el("th", { role: "rowheader", scope: "rowgroup", colspan: columns }, column.name)),
      ...column.groups.map(group => row(group, { column: column.name, group: group.name })))));
  return part("subgroups", [el("b", {}, "Subgroups"), `: ${names}`], about.labelled > 0 && matchMedia("(min-width: 701px)").matches,
    about.differing.length ? el("p", {}, el("b", {}, "Look here first"), ": subgroups whose interval lies apart from that of all other cases.") : null,
    about.differing.length ? el("ul", { class: "first" }, ...about.differing.slice(0, 8).map(one => el("li", {},
      link(one.filters, {}, `${one.filters.column} ${one.filters.group}`), `: ${one.figure} ${percent(one.share)}, others ${percent(one.others)}`))) : null,
    el("div", { class: "wide", role: "region", "aria-label": "subgroups", tabindex: 0 }, table),
    el("p", { class: "dim small" }, "Means over patients with their 95 % intervals: of twenty intervals, about one misses the true value by chance. ",
      "The orange line is the value of all cases. Below ten patients there is no interval."),
    about.unused ? el("p", { class: "dim small" }, `No subgroups: ${about.unused}.`) : null);
}

/** A value with its interval as text and as a line, or the plain words that the cases are too few. */
function valueOf(value: Value, all: Value, filters: Filters, link: Link): (Node | string)[] {
  if (value.value === null) return [el("span", { class: "dim" }, "none")];
  const said = value.interval ? range(value.interval) : value.few ? `only ${plural(value.patients, "patient")}: too few` : "";
  return [
    el("span", { class: "value" }, percent(value.value)), " ", el("span", { class: "dim small" }, said),
    value.interval ? line(value.value, value.interval, all.value ?? value.value) : "",
    value.count ? link({ ...filters, ...value.behind }, { class: "small block" }, `${value.count} ${value.word}`) : "",
  ];
}

function line(value: number, [low, high]: [number, number], whole: number): SVGElement {
  const at = (share: number): number => 5 + 120 * share;
  return svg("svg", { class: "interval", viewBox: "0 0 130 12", "aria-hidden": "true" },
    svg("line", { class: "track", x1: at(0), x2: at(1), y1: 6, y2: 6 }), svg("line", { class: "whole", x1: at(whole), x2: at(whole), y1: 0, y2: 12 }),
    svg("line", { class: "bar", x1: at(low), x2: at(high), y1: 6, y2: 6 }), svg("circle", { class: "dot", cx: at(value), cy: 6, r: 4 }));
}

function outsidePart(found: { outside: number; of: number }, link: Link): HTMLElement {
  const most = found.outside > found.of / 2, words = `${found.outside} of ${plural(found.of, "flip")}`;
  return el("p", { class: most ? "doubt" : "", id: "outside" }, "In ",
    found.outside ? link({ change: "outside" }, {}, words) : words, " most of the change lies outside the anatomy you marked.");
}

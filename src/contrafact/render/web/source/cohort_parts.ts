// What the parts above the list of cases share.

import { el } from "./page";

export type Filters = Record<string, string>;
/** Make a link to the cases of a filter. */
export type Link = (filters: Filters, attributes: Record<string, string>, ...children: (Node | string)[]) => HTMLElement;

export function part(id: string, title: (Node | string)[], open: boolean, ...children: (Node | string | null)[]): HTMLDetailsElement {
  return el("details", { class: "part", id, open }, el("summary", {}, ...title), ...children);
}

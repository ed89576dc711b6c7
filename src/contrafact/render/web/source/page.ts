// Helpers of every page: elements, requests, text. Text is inserted as text, never as HTML.

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | undefined>;

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K, attributes: Attributes = {}, ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  dress(made, attributes, children);
  return made;
}

export function svg(tag: string, attributes: Attributes = {}, ...children: Child[]): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  dress(made, attributes, children);
  return made;
}

function dress(made: Element, attributes: Attributes, children: Child[]): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== undefined && value !== false) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((c): c is Node | string => Boolean(c)));
}

/** The name of a picture until its pixels are there. */
export const LOADING = "the image is loading";

export function byId<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

export async function getJson<T>(address: string): Promise<T> {
  asked(1);
  try {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(await answer.text() || `${answer.status}`);
    return await answer.json() as T;
  } finally {
    setTimeout(() => asked(-1)); // after what is drawn with it
  }
}

let asking = 0;
/** Count answers that are waited for; the page carries `data-asking` while there are any. */
function asked(by: number): void {
  asking += by;
  document.documentElement.toggleAttribute("data-asking", asking > 0);
}

/** Send a write request. It needs the page's token: other sites can neither read the token nor send this header. */
export async function postJson<T>(address: string, body: unknown): Promise<T> {
  const answer = await fetch(address, {
    method: "POST",
    headers: { "content-type": "application/json", "x-contrafact-token": document.body.dataset.token ?? "" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(await answer.text() || `${answer.status}`);
  return await answer.json() as T;
}

/** Show an error in the page's alert region, which screen readers announce. */
export function tell(error: unknown): void {
  const text = error instanceof Error ? error.message : String(error);
  const place = byId("notice");
  place.textContent = text;
  place.hidden = false;
}

export function plural(count: number, one: string, many = one + "s"): string {
  return `${count} ${count === 1 ? one : many}`;
}

export function signed(value: number, digits = 2): string {
  const text = value.toFixed(digits);
  return value > 0 && Number(text) !== 0 ? `+${text}` : text.replace(/^-(0\.?0*)$/, "$1").replace("-", "−");
}

export function short(value: number): string {
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

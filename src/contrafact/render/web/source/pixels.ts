// Convert arrays to pixels: window and level, signed colours, contours. The colours equal those of the report.

export const FOR = [255, 150, 40], AGAINST = [70, 160, 255];

export interface Values { shape: number[]; data: Float32Array }
export interface Window { low: number; high: number }

const kept = new Map<string, Promise<Values>>();
const given = new Map<string, () => Promise<Values>>();

/** Register an array that is part of the page and needs no request. */
export function give(address: string, open: () => Promise<Values>): void {
  given.set(address, open);
}

/** Rows whose values do not come from the server; in a notebook they come from the kernel. */
export const provided = new Map<number, (name: string, slice?: number) => Promise<Values>>();

/** An array of a result, requested once: of a row of the run, or of a live explanation. */
export function getValues(row: number | string, name: string, slice?: number): Promise<Values> {
  const own = typeof row === "number" ? provided.get(row) : undefined;
  if (own) return own(name, slice);
  const address = `${typeof row === "string" ? "/live" : ""}/array/${row}/${name}${slice === undefined ? "" : `?slice=${slice}`}`;
  let found = kept.get(address);
  if (!found) {
    if (kept.size > 60) kept.delete(kept.keys().next().value as string);
    found = given.get(address)?.() ?? fetchValues(address);
    kept.set(address, found);
  }
  return found;
}

async function fetchValues(address: string): Promise<Values> {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(await answer.text());
  const shape = (answer.headers.get("x-shape") ?? "").split(",").map(Number);
  return { shape, data: new Float32Array(await answer.arrayBuffer()) };
}

/** Frame k of (K, C, H, W). */
export function frameOf(values: Values, k: number): Values {
  const shape = values.shape.slice(1), size = shape.reduce((a, b) => a * b, 1);
  return { shape, data: values.data.subarray(k * size, (k + 1) * size) };
}

export function mixed(a: Values, b: Values, share: number): Values {
  if (share <= 0) return a;
  return { shape: a.shape, data: a.data.map((v, i) => v * (1 - share) + b.data[i] * share) };
}

/** Apply a window to (C, H, W); images of fewer than three channels are grey. */
export function greyPixels(values: Values, window: Window, dim = 1): ImageData {
  const [channels, height, width] = values.shape, size = height * width;
  const pixels = new ImageData(width, height), span = Math.max(window.high - window.low, 1e-9);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) {
      const value = values.data[(channels >= 3 ? c : 0) * size + i];
      pixels.data[4 * i + c] = 255 * dim * Math.min(1, Math.max(0, (value - window.low) / span));
    }
    pixels.data[4 * i + 3] = 255;
  }
  return pixels;
}

/** Signed values: the sign sets the colour, the magnitude on the given scale sets the opacity. */
export function signedPixels(data: Float32Array, width: number, height: number, scale: number, opacity: number): ImageData {
  const pixels = new ImageData(width, height);
  for (let i = 0; i < data.length; i++) {
    const colour = data[i] > 0 ? FOR : AGAINST;
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = colour[c];
    pixels.data[4 * i + 3] = 255 * opacity * Math.min(1, Math.abs(data[i]) / scale);
  }
  return pixels;
}

/** Difference of two images, averaged over channels. */
export function difference(a: Values, b: Values): Float32Array {
  const [channels, height, width] = a.shape, size = height * width, found = new Float32Array(size);
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < size; i++) found[i] += (a.data[c * size + i] - b.data[c * size + i]) / channels;
  return found;
}

/** The original with its change several times as strong: shown, and not what the model was asked. */
export function exaggerated(origin: Values, now: Values, times: number): Values {
  return { shape: origin.shape, data: origin.data.map((value, i) => value + times * (now.data[i] - value)) };
}

export function percentile(data: Float32Array, share: number): number {
  const sorted = Float32Array.from(data).sort();
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(share * (sorted.length - 1))))];
}

/** Pixels as a canvas of the same size, which can be drawn at any. */
export function layerOf(pixels: ImageData): HTMLCanvasElement {
  const layer = document.createElement("canvas");
  layer.width = pixels.width;
  layer.height = pixels.height;
  layer.getContext("2d")!.putImageData(pixels, 0, 0);
  return layer;
}

export function draw(context: CanvasRenderingContext2D, pixels: ImageData): void {
  const layer = layerOf(pixels);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(layer, 0, 0, context.canvas.width, context.canvas.height);
}

/** A canvas as sharp as the screen, in the proportions of the image. */
export function fit(canvas: HTMLCanvasElement, height: number, width: number, aspect: number, least = 512): CanvasRenderingContext2D {
  const wide = Math.round(Math.min(1024, Math.max(least, width)));
  const high = Math.max(1, Math.round(wide * height * aspect / width));
  if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
  const context = canvas.getContext("2d")!;
  context.clearRect(0, 0, wide, high);
  return context;
}

const OUTLINED = 0.1; // share of the image inside the outline of the strongest part, as in the report

/** The least size inside the strongest `share` of values; of sparser ones half of the least that is not zero. */
export function strongest(sizes: Float32Array, share: number): number {
  return percentile(sizes, 1 - share) || sizes.reduce((least, size) => size > 0 && (least === 0 || size < least) ? size : least, 0) / 2;
}

/** Lines around the strongest tenth of a change; none where so much changes alike that there is no such tenth. */
export function outline(data: Float32Array, width: number, height: number): number[][] {
  const sizes = data.map(Math.abs), level = strongest(sizes, OUTLINED);
  const inside = sizes.reduce((count, size) => count + (size >= level ? 1 : 0), 0) / sizes.length;
  return level > 0 && inside <= 1.5 * OUTLINED ? contour(data, width, height, level) : [];
}

/** Lines around where |values| reaches a level, by marching squares; in units of values' pixels, at their centres. */
export function contour(data: Float32Array, width: number, height: number, level: number): number[][] {
  const lines: number[][] = [];
  if (level <= 0) return lines;
  const at = (x: number, y: number): number => // values outside the image count as low, so that lines close at the edge
    x < 0 || y < 0 || x >= width || y >= height ? -level : Math.abs(data[y * width + x]) - level;
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const a = at(x, y), b = at(x + 1, y), c = at(x + 1, y + 1), d = at(x, y + 1);
      const cut: number[][] = [];
      if (a >= 0 !== b >= 0) cut.push([x + a / (a - b), y]);
      if (b >= 0 !== c >= 0) cut.push([x + 1, y + b / (b - c)]);
      if (c >= 0 !== d >= 0) cut.push([x + d / (d - c), y + 1]);
      if (d >= 0 !== a >= 0) cut.push([x, y + a / (a - d)]);
      for (let i = 0; i + 1 < cut.length; i += 2) lines.push([...cut[i], ...cut[i + 1]]);
    }
  }
  return lines;
}

/** Draw lines in pixels of the image; `scale` is that of the context, so that they are as thin when it is enlarged. */
export function drawContour(context: CanvasRenderingContext2D, lines: number[][], width: number, height: number, scale = 1): void {
  const sx = context.canvas.width / width, sy = context.canvas.height / height;
  context.beginPath();
  for (const [x0, y0, x1, y1] of lines) {
    context.moveTo((x0 + 0.5) * sx, (y0 + 0.5) * sy);
    context.lineTo((x1 + 0.5) * sx, (y1 + 0.5) * sy);
  }
  context.lineCap = "round";
  for (const [colour, wide] of [["#000", 4], ["#fff", 2]] as const) { // white on black is visible on any grey
    context.strokeStyle = colour;
    context.lineWidth = wide / scale;
    context.stroke();
  }
}

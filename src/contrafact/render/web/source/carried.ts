// Decode arrays embedded in the page by report/encode_arrays.py.

import { type Values } from "./pixels";

export interface Carried { shape: number[]; low: number; step: number; data: string }

/** Levels are stored as differences from the left neighbour and, for frames, from the frame before; low bytes first, then high bytes. */
export async function opened(found: Carried): Promise<Values> {
  const packed = Uint8Array.from(atob(found.data), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const { shape, low, step } = found, size = bytes.length / 2, width = shape[shape.length - 1];
  const frame = shape.length === 4 ? size / shape[0] : size;
  const levels = new Int32Array(size), data = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const folded = bytes[i] | bytes[size + i] << 8;
    levels[i] = (folded & 1 ? -(folded + 1) / 2 : folded / 2) + (i >= frame ? levels[i - frame] : 0);
  }
  for (let i = 0; i < size; i++) {
    if (i % width) levels[i] += levels[i - 1];
    data[i] = low + step * levels[i];
  }
  return { shape, data };
}

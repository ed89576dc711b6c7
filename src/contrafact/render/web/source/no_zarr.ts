// Stands where NiiVue imports zarrita: this viewer reads NIfTI only, so 1.4 MB of codecs in WebAssembly stay out.

const none = (): never => { throw new Error("this viewer reads NIfTI only"); };

export class FetchStore { constructor() { none(); } }
export const root = none, open = none, get = none, slice = none;

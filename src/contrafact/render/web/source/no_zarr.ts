// Replaces zarrita, which NiiVue imports: this viewer reads NIfTI only, so 1.4 MB of WebAssembly codecs are left out.

const none = (): never => { throw new Error("this viewer reads NIfTI only"); };

export class FetchStore { constructor() { none(); } }
export const root = none, open = none, get = none, slice = none;

// The page says which it is.

import { casePage } from "./case";
import { cohortPage } from "./cohort";
import { formPage } from "./form";
import { tell } from "./page";
import { readPage } from "./read";

const pages: Record<string, () => void | Promise<void>> = { cohort: cohortPage, case: casePage, read: readPage, form: formPage };

Promise.resolve(pages[document.body.dataset.page ?? ""]?.()).catch(tell);

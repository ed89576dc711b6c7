// Start the script of the page that is named in the body's data-page attribute.

import { attributesPage } from "./attributes";
import { casePage } from "./case";
import { cohortPage } from "./cohort";
import { comparePage } from "./compare";
import { formPage } from "./form";
import { tell } from "./page";
import { pairPage } from "./pair";
import { readPage } from "./read";

const pages: Record<string, () => void | Promise<void>> = { cohort: cohortPage, case: casePage, read: readPage, compare: comparePage, pair: pairPage, form: formPage, attributes: attributesPage };

Promise.resolve(pages[document.body.dataset.page ?? ""]?.()).catch(tell);

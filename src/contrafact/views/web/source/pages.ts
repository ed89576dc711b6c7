// The page says which it is.

import { casePage } from "./case";
import { cohortPage } from "./cohort";
import { tell } from "./page";

const pages: Record<string, () => void | Promise<void>> = { cohort: cohortPage, case: casePage };

Promise.resolve(pages[document.body.dataset.page ?? ""]?.()).catch(tell);

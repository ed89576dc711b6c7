"""What shipped bundles and their pages say of their own limits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from contrafact.bundles import list_bundles, load_bundle
from experiments.evaluate import medxgan

DOCS = Path(__file__).parents[2] / "docs" / "results"


def test_the_chest_bundle_says_how_far_exposure_alone_goes_and_that_no_consolidation_is_added() -> None:
    page, card = (DOCS / "chest.md").read_text(), load_bundle("chest").card["limits"]
    for text in (page, card, (list_bundles()["chest"] / "MODEL_CARD.md").read_text()):
        assert "consolidation" in text and re.search(r"eight (numbers|greys)", text.lower())
        assert re.search(r"AUC of \*{0,2}0\.9", text)
    assert "**0.911**" in page and "**0.937**" in page and "experiments.evaluate.exposure" in page


@pytest.mark.parametrize("name", sorted(list_bundles()))
def test_a_model_card_holds_the_limits_of_its_bundle(name: str) -> None:
    """The report prints those of the bundle, a reader of the repository sees those of the card."""
    card = (list_bundles()[name] / "MODEL_CARD.md").read_text()
    about = json.loads((list_bundles()[name] / "bundle.json").read_text())["card"]
    assert " ".join(about["limits"].split()) in " ".join(card.split())


def test_the_page_of_medxgan_has_no_row_that_holds_by_construction() -> None:
    """A search follows the model's answer, so that the answer follows the search; and the generator is trained
    to give the answers that are asked."""
    page = (DOCS / "medxgan.md").read_text()
    cells = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("|")]
    made = [what for what, *_ in medxgan.ROWS]
    assert set(made) <= set(cells)
    for what in (*made, *cells):
        assert not re.search("rank correlation|wrong way|asked|composition|calibration", what), what
    columns = {
        "lesions": {"along": {"rank": [0.9, 1.0], "slope": [1.2, 1.2]}},
        "old": {"along": {"rank": [1.0]}},
    }
    said = " ".join(medxgan.checks(columns))
    assert "score (lesions 0.95, old 1.00)" in said and "requested (lesions 1.20)" in said and "|" not in said

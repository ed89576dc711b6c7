"""How sure a share is."""

from __future__ import annotations

import math

Z = 1.959963984540054  # 95 %, two-sided


def wilson(correct: int, judged: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; all of it where nothing was judged. Unlike a bootstrap it has a width
    where all or none are right.

    Source: Wilson 1927.
    """
    if judged == 0:
        return 0.0, 1.0
    share, bend = correct / judged, Z * Z / judged
    middle = (share + bend / 2) / (1 + bend)
    half = Z / (1 + bend) * math.sqrt(share * (1 - share) / judged + bend / (4 * judged))
    return (0.0 if correct == 0 else middle - half), (1.0 if correct == judged else middle + half)

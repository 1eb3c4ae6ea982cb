"""What is worth its cost: the Pareto front."""

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the points (merit, cost) that no other beats: as good or better for as little or less, and better
    in one of the two. In order of cost."""
    best = [
        place
        for place, (merit, cost) in enumerate(points)
        if not any(m >= merit and c <= cost and (m, c) != (merit, cost) for m, c in points)
    ]
    return sorted(best, key=lambda place: points[place][1])

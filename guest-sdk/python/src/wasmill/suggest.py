"""The name that a misspelt one was probably meant to be."""

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The nearest among `known`, if it is near: at most a third of its letters differ."""
    near = [(distance(word, name), name) for name in known]
    near = [(steps, name) for steps, name in near if steps <= max(1, len(name) // 3)]
    return min(near, key=lambda found: found[0])[1] if near else None


def distance(a: str, b: str) -> int:
    """Letters to insert, remove, change or swap with the next to get from `a` to `b`."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            steps = min(last[j - 1] + (letter != other), last[j] + 1, row[j - 1] + 1)
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                steps = min(steps, before[j - 2] + 1)
            row.append(steps)
        before, last = last, row
    return last[-1]

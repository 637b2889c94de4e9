"""Reduces words to the longest, of several the first.

    [steps.longest]
    input = "words"
    plugin = "longest-word"
    group_by = ["line"]

It reads the column that `column` names, else `word`, else the first text column; the result has that column. Length is
counted in characters.

First lesson on reducers: a function of two rows that gives one, and does not care where the rows are cut. There is no
inverse:
when the longest word is gone, nobody knows the second.
"""

from dataclasses import dataclass
from typing import Annotated

from wasmill import column, reducer


@dataclass
class Word:
    word: Annotated[str, column(setting="column", or_first=True)]


@reducer.reduce
def longer(a: Word, b: Word) -> Word:
    return b if len(b.word) > len(a.word) else a

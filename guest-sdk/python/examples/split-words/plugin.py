"""Splits lines into words: one row in, any number of rows out.

    [steps.words]
    input = "lines"
    plugin = "split-words"
    config = { column = "message", carry = true }   # both may be left out

It reads the column that `column` names, else `line`, else the first text column, and gives the column `word`. With
`carry` each word keeps the other columns of its line.

First lesson: a function of columns. It sees the bytes that the host wrote, all lines of a call one after another, and
answers with a list of words and, for each, the row that it comes from. As a function of rows it would be

    @transform.flat_map(carry=lambda config: config.carry)
    def split(config: Config, row: Line) -> Iterator[Word]:
        for word in row.line.split():
            yield Word(word)

which takes three times as long, and splits at every blank of Unicode too.
"""

import re
from dataclasses import dataclass
from itertools import chain, pairwise, repeat
from typing import Annotated

from wasmill import Batch, Columns, column, transform


@dataclass
class Config:
    carry: bool = False


@dataclass
class Line:
    line: Annotated[str, column(setting="column", or_first=True)]


@dataclass
class Word:
    word: str


# What lies between blanks, tabs and ends of lines. `bytes.split()` finds the same, unless there is a vertical tab, at
# which it splits too.
find_words = re.compile(rb"[^ \t\n\r\f]+").findall


@transform.columns(carry=lambda config: config.carry)
def split(config: Config, batch: Batch[Line]) -> Columns[Word]:
    line = batch["line"]
    data = line.bytes
    split_line = find_words if b"\v" in data else bytes.split
    words: list[bytes] = []
    counts = []
    for start, end in pairwise(line.offsets):
        of_line = split_line(data[start:end])
        words += of_line
        counts.append(len(of_line))
    parents = list(chain.from_iterable(map(repeat, range(len(batch)), counts)))
    return Columns({"word": words}, parents)

"""Parses a column of JSON objects into typed columns.

    [steps.readings]
    input = "lines"
    plugin = "parse-json"
    config = { schema = { sensor = "utf8", celsius = "float64", note = "utf8?" } }

It reads the column that `column` names, else `line`, else the first text column. Each entry of `schema` becomes a
column of that name and type; a type that ends in `?` allows nulls, as does a key that is missing then. Other keys are
left out. A row that is no JSON object, or whose values are not of their types, is rejected with the reason. With
`carry` the rows keep the input's other columns.

Second lesson: an output whose columns only the configuration knows. `open` turns the configuration into what `parse`
works with; `columns` tells the host the schema; a row is then a tuple of values. `Reject` turns a row away, and the
others go on.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from wasmill import Field, Reject, column, jsontext, transform, types


@dataclass
class Config:
    schema: dict[str, str]
    carry: bool = False


@dataclass
class Line:
    line: Annotated[str, column(setting="column", or_first=True)]


class Parser:
    def __init__(self, config: Config) -> None:
        self.carry = config.carry
        self.columns = [
            Field(name, text.removesuffix("?"), text.endswith("?")) for name, text in sorted(config.schema.items())
        ]
        self.cells = [(field.name, types.parse(field.data_type), field.nullable) for field in self.columns]


@transform.map(open=Parser, columns=lambda parser: parser.columns, carry=lambda parser: parser.carry)
def parse(parser: Parser, row: Line) -> tuple[Any, ...]:
    try:
        members = jsontext.members(row.line)
    except ValueError as error:
        raise Reject(f"not a JSON object: {error}") from None
    values = []
    for name, data_type, nullable in parser.cells:
        try:
            value = jsontext.read(members.get(name, "null"), data_type)
        except ValueError as error:
            raise Reject(f"`{name}`: {error}") from None
        if value is None and not nullable:
            raise Reject(f"`{name}` is missing")
        values.append(value)
    return tuple(values)

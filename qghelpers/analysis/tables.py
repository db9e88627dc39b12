"""Tables of values with their uncertainties, as text and in notebooks."""

import html
from collections.abc import Mapping, Sequence


class Table(dict[str, dict[str, tuple[float, float]]]):
    """Values with their uncertainties: a row for each model, a column for each quantity.

    `table["PCA"]["MSE"]` is a pair. Printed, and shown in a notebook, it has a line for each
    quantity and a column for each model.
    """

    def columns(self) -> list[str]:
        """The quantities, in the order of their first row."""
        return list(dict.fromkeys(name for row in self.values() for name in row))

    def only(self, columns: Sequence[str]) -> "Table":
        """The table with these quantities alone, where a row has them."""
        return Table({name: {c: row[c] for c in columns if c in row} for name, row in self.items()})

    def _cells(self) -> list[list[str]]:
        """A line for the names of the models, then one for each quantity."""
        lines = [["", *self]]
        for column in self.columns():
            row = [_cell(*row[column]) if column in row else "" for row in self.values()]
            lines.append([column, *row])
        return lines

    def __str__(self) -> str:
        lines = self._cells()
        left = max(len(line[0]) for line in lines)
        widths = [max(len(name), 15) + 2 for name in self]
        return "\n".join(
            f"{name:<{left}}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))
            for name, *cells in lines
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *lines = ([html.escape(cell) for cell in line] for line in self._cells())
        rows = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
        for name, *cells in lines:
            row = "".join(f"<td>{cell}</td>" for cell in cells)
            rows.append(f"<tr><th>{name}</th>{row}</tr>")
        return "<table>\n" + "\n".join(rows) + "\n</table>"


def _cell(value: float, error: float) -> str:
    if value > 1 and not error and float(value).is_integer():
        return f"{value:,.0f}"
    if 0 < abs(value) < 0.1:
        return f"{value:.4f} ± {error:.4f}"
    return f"{value:.3f} ± {error:.3f}"


def format_table(table: Mapping, columns: Sequence[str] | None = None) -> str:
    """The result of `compare` as text: a line for each quantity, a column for each model.

    Args:
        table: as `Table`, or a dictionary of the same form.
        columns: quantities to show; all of them unless given.
    """
    table = Table(table)
    return str(table if columns is None else table.only(columns))

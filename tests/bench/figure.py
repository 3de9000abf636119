# SPDX-License-Identifier: ISC
"""One line of the table, and the table as text and as markdown."""
import dataclasses
import statistics


@dataclasses.dataclass
class Figure:
    """What was measured against what it has to be. ok is None where the
    figure has no floor or could not be measured; the note then says why."""
    name: str
    floor: str
    measured: str
    peer: str = ""
    ok: bool | None = None
    note: str = ""

    def cells(self):
        judged = {True: "yes", False: "NO", None: "-"}[self.ok]
        return [self.name, self.floor, self.measured, self.peer, judged]


HEAD = ["figure", "floor", "measured", "peer", "ok"]


def at_least(name, floor, found, unit, peer="", note=""):
    return Figure(name, f">= {floor:g}{unit}", f"{found:.3g}{unit}", peer,
                  found >= floor, note)


def at_most(name, floor, found, unit, peer="", note=""):
    return Figure(name, f"<= {floor:g}{unit}", f"{found:.3g}{unit}", peer,
                  found <= floor, note)


def spread(values, form="{:.0f}"):
    """The median with the lowest and the highest beside it."""
    low, middle, high = (form.format(value) for value in (
        min(values), statistics.median(values), max(values)))
    return middle if low == high else f"{middle} ({low}-{high})"


def as_text(figures):
    rows = [HEAD] + [figure.cells() for figure in figures]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width)
                       for cell, width in zip(row, widths)).rstrip()
             for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    lines += [""] + [f"{figure.name}: {figure.note}"
                     for figure in figures if figure.note]
    return "\n".join(lines)


def as_markdown(figures):
    rows = [HEAD, ["---"] * len(HEAD)] + [f.cells() for f in figures]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) +
             " |" for row in rows]
    lines += [""] + [f"- {figure.name}: {figure.note}"
                     for figure in figures if figure.note]
    return "\n".join(lines)

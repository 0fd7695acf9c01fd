"""Elements and axes of charts as SVG. Colours are classes of the page's style sheet, which knows light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from fastvmt.studies.forms import one_line

MARGIN = 0.08
"""Of an axis, as a share of what it shows, on either side."""


@dataclass(frozen=True)
class Axis:
    """Where the values of one direction of a chart stand."""

    low: float
    high: float
    start: float
    """Pixel of ``low``."""
    end: float

    def at(self, value: float) -> float:
        """Give the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """List round values, at most seven."""
        found = MaxNLocator(6).tick_values(self.low, self.high)
        return [float(value) for value in found if self.low <= value <= self.high]


def axis_of(values: Sequence[float], start: float, end: float) -> Axis:
    """Make the axis that shows all values, which are finite."""
    low, high = min(values), max(values)
    room = (high - low) * MARGIN or abs(high) * MARGIN or 1.0
    return Axis(low - room, high + room, start, end)


def picture(width: float, height: float, label: str) -> Element:
    """Begin a picture; ``label`` is what a screen reader says of it."""
    size = {"viewBox": f"0 0 {width:g} {height:g}", "width": f"{width:g}", "height": f"{height:g}"}
    return Element("svg", size | {"role": "img", "aria-label": one_line(label)})


def add(parent: Element, name: str, words: str = "", **attributes: Any) -> Element:
    """Add an element: ``text_anchor`` becomes text-anchor, ``kind`` the class, numbers are rounded to a tenth."""
    names = {key: "class" if key == "kind" else key.replace("_", "-") for key in attributes}
    written = {
        names[key]: f"{value:.1f}" if isinstance(value, float) else str(value) for key, value in attributes.items()
    }
    element = SubElement(parent, name, written)
    if words:
        element.text = one_line(words)
    return element


def axes(svg: Element, x: Axis, y: Axis, labels: tuple[str, str]) -> None:
    """Draw both axes with their ticks and labels."""
    for value in y.ticks():
        add(svg, "line", kind="rule", x1=x.start, x2=x.end, y1=y.at(value), y2=y.at(value))
        add(svg, "text", f"{value:g}", kind="tick", x=x.start - 6, y=y.at(value) + 4, text_anchor="end")
    for value in x.ticks():
        add(svg, "text", f"{value:g}", kind="tick", x=x.at(value), y=y.start + 16, text_anchor="middle")
    add(svg, "line", kind="axis", x1=x.start, x2=x.end, y1=y.start, y2=y.start)
    add(svg, "text", labels[0], kind="label", x=(x.start + x.end) / 2, y=y.start + 34, text_anchor="middle")
    add(svg, "text", labels[1], kind="label", x=x.start, y=y.end - 8)


def written(svg: Element) -> Markup:
    """Write a picture for a page: its words are escaped."""
    return Markup(ElementTree.tostring(svg, encoding="unicode"))

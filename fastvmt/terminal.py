"""Words on a terminal as they are: no markup, no emoji codes, nothing that steers the terminal."""

from __future__ import annotations

import unicodedata

from rich.text import Text

STEERING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Unicode's characters that turn the direction of what follows."""


def literal_text(words: str) -> Text:
    """Give words that people or files chose in a form that rich prints literally, see :func:`harmless`."""
    return Text(harmless(words))


def harmless(words: str) -> str:
    r"""Write control characters, line breaks aside, and lone surrogates as Python escapes them.

    Example:
        >>> harmless("a\x1b[31m dog")
        'a\\x1b[31m dog'
    """
    return "".join(letter if _prints(letter) else ascii(letter)[1:-1] for letter in words)


def _prints(letter: str) -> bool:
    if letter == "\n":
        return True
    return unicodedata.category(letter) not in ("Cc", "Cs") and unicodedata.bidirectional(letter) not in STEERING

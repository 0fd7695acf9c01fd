"""The words of the moving-emoji world: objects, backgrounds, their synonyms, and captions.

Captions name what is seen and never how it moves, so that a text-to-video model
trained on them leaves the motion to chance, and motion transfer has to supply it.
"""

from __future__ import annotations

import re

OBJECTS: dict[str, tuple[str, ...]] = {
    "dog": ("dog", "puppy", "hound"),
    "panda": ("panda", "bear"),
    "frog": ("frog", "toad"),
    "pig": ("pig", "piglet"),
    "bird": ("bird", "sparrow"),
    "fish": ("fish", "goldfish"),
    "car": ("car", "automobile"),
    "rocket": ("rocket", "spaceship"),
    "balloon": ("balloon",),
    "ball": ("ball", "football"),
    "star": ("star",),
    "tree": ("tree", "fir"),
    "sunflower": ("sunflower", "flower"),
    "mushroom": ("mushroom", "toadstool"),
    "pumpkin": ("pumpkin", "lantern"),
    "donut": ("donut", "doughnut"),
}
"""Canonical object name -> the nouns that captions use for it."""

COLOURS: dict[str, str] = {
    "dog": "white",
    "panda": "white",
    "frog": "green",
    "pig": "pink",
    "bird": "blue",
    "fish": "yellow",
    "car": "red",
    "rocket": "grey",
    "balloon": "red",
    "ball": "white",
    "star": "yellow",
    "tree": "green",
    "sunflower": "yellow",
    "mushroom": "red",
    "pumpkin": "orange",
    "donut": "brown",
}
"""The colour word that a caption may put before an object."""

BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "grass": ("grass", "meadow", "lawn"),
    "sand": ("sand", "beach", "desert"),
    "sea": ("sea", "water", "ocean"),
    "snow": ("snow", "ice"),
    "brick": ("brick", "bricks", "wall"),
    "night": ("night", "space", "stars"),
}
"""Canonical background name -> the nouns that captions use for it."""

PREPOSITIONS = ("on", "over", "in", "at", "above", "with")
FILLERS = ("a", "an", "the", "and", "of", "photo", "video", "picture", "some", "near", "background")


def words() -> list[str]:
    """Every word that captions can contain, sorted: the tokenizer's vocabulary."""
    nouns = [noun for group in (*OBJECTS.values(), *BACKGROUNDS.values()) for noun in group]
    return sorted({*nouns, *COLOURS.values(), *PREPOSITIONS, *FILLERS})


def canonical_caption(objects: list[str], background: str) -> str:
    """The plain caption, e.g. ``a dog and a balloon on grass``."""
    return f"{' and '.join(f'a {name}' for name in objects)} on {background}"


def split_words(prompt: str) -> list[str]:
    """Lower-case words of a prompt, as the tokenizer splits it."""
    return re.findall(r"[a-z]+", prompt.lower())


def unknown_words(prompt: str) -> list[str]:
    """Words of ``prompt`` that the tiny models never saw, in their order."""
    known = set(words())
    return [word for word in split_words(prompt) if word not in known]


def named(prompt: str, table: dict[str, tuple[str, ...]]) -> list[str]:
    """Canonical names of ``table`` (OBJECTS or BACKGROUNDS) that ``prompt`` mentions, in order."""
    lookup = {noun: name for name, nouns in table.items() for noun in nouns}
    found = [lookup[word] for word in split_words(prompt) if word in lookup]
    return list(dict.fromkeys(found))

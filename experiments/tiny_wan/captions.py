"""Captions in many words: what the text encoder of tiny-wan and tiny-clip learn from."""

from __future__ import annotations

import numpy as np

from fastvmt.world.vocabulary import BACKGROUNDS, COLOURS, OBJECTS, PREPOSITIONS


def sample_caption(rng: np.random.Generator, objects: list[str], background: str) -> str:
    """A caption with random synonyms, colour words, articles and word order."""

    def pick(options: tuple[str, ...]) -> str:
        return options[0] if rng.random() < 0.5 else options[rng.integers(len(options))]

    phrases = []
    for name in objects:
        colour = COLOURS[name] + " " if rng.random() < 0.3 else ""
        phrases.append(f"{pick(('a', 'the'))} {colour}{pick(OBJECTS[name])}")
    rng.shuffle(phrases)
    subject = " and ".join(phrases)
    place = pick(BACKGROUNDS[background])
    form = rng.random()
    if form < 0.6:
        return f"{subject} {pick(PREPOSITIONS[:5])} {pick(('', 'the '))}{place}"
    if form < 0.75:
        return f"{pick(('on', 'in', 'over'))} {pick(('', 'the '))}{place} {subject}"
    if form < 0.9:
        return f"{pick(('a video', 'a photo', 'a picture'))} of {subject} on {place}"
    return f"{place} with {subject}"

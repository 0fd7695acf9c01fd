"""Do other words and another word order still work? ``python -m experiments.tiny_wan.wording``.

Generates clips from prompts in forms of which all but the first two never occur in training captions
(``captions.py``), and lets tiny-clip judge object and background, as the export does with plain prompts.
"""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from experiments import command_line
from experiments.tiny_wan.export import generate, judge
from fastvmt.files import write_json
from fastvmt.results.provenance import provenance
from fastvmt.versions import main_options
from fastvmt.world.vocabulary import BACKGROUNDS, COLOURS, OBJECTS

FORMS = {
    "plain": "a {name} on {place}",
    "synonyms": "the {noun} over the {ground}",
    "keywords": "{name} {place}",
    "background first, with 'and'": "the {ground} and some {noun}",
    "colour behind": "a {noun} of {colour} near {ground}",
    "unknown words": "a happy {name} dancing wildly on wet {place}",
}
"""Name -> prompt; ``noun`` and ``ground`` are the last synonyms of object and background."""


def prompts(form: str, pairs: list[tuple[str, str]]) -> list[str]:
    """The prompt of each (object, background) in this form."""
    return [
        form.format(name=o, place=b, noun=OBJECTS[o][-1], ground=BACKGROUNDS[b][-1], colour=COLOURS[o])
        for o, b in pairs
    ]


@hydra.main(**main_options(), config_path="conf", config_name="dit")
def main(cfg: DictConfig) -> None:
    names, places = list(OBJECTS), list(BACKGROUNDS)
    pairs = [(name, places[i % len(places)]) for i, name in enumerate(names)]
    table = Table("form", "example", "object top-1", "background top-1")
    rows = {}
    for name, form in FORMS.items():
        texts = prompts(form, pairs)
        rows[name] = judge(generate(Path(cfg.output), texts, cfg), pairs, Path(cfg.clip_folder))
        table.add_row(name, texts[0], f"{rows[name]['object_top1']:.2f}", f"{rows[name]['background_top1']:.2f}")
    Console().print(table)
    write_json(Path("outputs") / "tiny_wan_wording.json", rows | provenance())


if __name__ == "__main__":
    command_line.run(main)

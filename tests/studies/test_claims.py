"""Claims of a table: read as inequalities of means, and judged by paired intervals."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from fastvmt.config import config_folder
from fastvmt.results.statistics import compare
from fastvmt.studies.claims import judged, verdicts
from fastvmt.studies.rows import read_rows
from fastvmt.studies.table import StudyTable, tabulated
from fastvmt.study import Study
from fastvmt.sweep import jobs_of
from helpers.config import composed
from helpers.records import case_record
from helpers.studies import scored, write_run


def table_of(folder: Path, rows: dict[str, dict[str, float]]) -> StudyTable:
    """A table over the key ``skip.delta``."""
    for job, (delta, values) in enumerate(rows.items()):
        write_run(folder / "rows" / str(job), [], scored(values), {"skip.delta": delta}, job)
    return tabulated(read_rows([folder]))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> StudyTable:
    """Twelve references with two seeds: the second row better by 0.1, the third by noise about 0."""
    rng = np.random.default_rng(0)
    base = {f"r{i}/p{p}/s{s}": float(rng.normal(0.5, 0.2)) for i in range(12) for p in range(2) for s in range(2)}
    rows = {"1": base, "2": {k: v + float(rng.normal(0.1, 0.02)) for k, v in base.items()}}
    rows["3"] = {k: v + float(rng.normal(0.0, 0.1)) for k, v in base.items()}
    return table_of(tmp_path_factory.mktemp("claims"), rows)


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("motion_fidelity[2] > motion_fidelity[1]", "supported"),
        ("motion_fidelity[2] < motion_fidelity[1]", "contradicted"),
        ("motion_fidelity[3] > motion_fidelity[1]", "undecided"),
        ("motion_fidelity[3] - motion_fidelity[1] > -0.2", "supported"),
        ('motion_fidelity["delta=2"] - motion_fidelity["delta=1"] > 0.3', "contradicted"),
        ("motion_fidelity[2] > 1.05 * motion_fidelity[1]", "supported"),
        ("gradients[2] < 2 * gradients[1]", "supported"),
    ],
)
def test_verdicts(table: StudyTable, claim: str, verdict: str) -> None:
    found = judged(table, claim)
    assert found.verdict == verdict, found
    assert found.low <= found.margin <= found.high


def test_a_difference_has_the_interval_that_the_table_gives_it(table: StudyTable) -> None:
    found = judged(table, "motion_fidelity[2] - motion_fidelity[1] > 0")
    paired = compare(table.values(1, "motion_fidelity"), table.values(0, "motion_fidelity"))
    assert (found.margin, found.low, found.high) == pytest.approx((paired.mean, paired.low, paired.high))


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        ("motion_fidelity[9] > 0", "no row is 9"),
        ("absent[1] > 0", "absent is n/a in row 1"),
        ("motion_fidelity[1]", "no inequality"),
        ("motion_fidelity[1] >", "cannot be read"),
        ("motion_fidelity[1] / (gradients[1] - gradients[1]) > 1", "it divides by 0"),
        ("1 / 0 > motion_fidelity[1]", "it divides by 0"),
        ("motion_fidelity[1] * (2 / (1 - 1)) > 0", "it divides by 0"),
        ("motion_fidelity[1] > 0 / 0", "it divides by 0"),
        (f"motion_fidelity[1] > {'9' * 400}", "is no number and no column[row]"),
        ("motion_fidelity[1] > 1e999", "is no number and no column[row]"),
        ("__import__('os').system('true') > 0", "is no number and no column[row]"),
        ("motion_fidelity[1] ** 2 > 0", "is no number and no column[row]"),
    ],
)
def test_what_cannot_be_judged_says_why(table: StudyTable, claim: str, why: str) -> None:
    found = judged(table, claim)
    assert found.verdict == "undecided" and why in found.why and math.isnan(found.low)


@pytest.mark.parametrize("claim", ["motion_fidelity[1]", "motion_fidelity[1] >", "open('x') > 0", "3", "1 > 0"])
def test_a_claim_that_cannot_be_read_ends_a_sweep_before_its_first_job(
    claim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = OmegaConf.create({"table": {"claims": [claim]}, "hydra": {"sweeper": {}, "sweep": {"dir": str(tmp_path)}}})
    with pytest.raises(SystemExit) as stopped:
        Study().on_multirun_start(config)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.startswith(f"fastvmt: table.claims={claim!r} is no claim: ")
    assert error.count("\n") == 1 and not list(tmp_path.iterdir())


def test_seeds_that_one_row_lacks_count_in_none(tmp_path: Path) -> None:
    both = {f"r{i}/p/s{s}": 0.5 + 0.4 * s for i in range(8) for s in (0, 1)}
    one = {case: value - 0.1 for case, value in both.items() if case.endswith("s0")}
    found = judged(table_of(tmp_path, {"1": both, "2": one}), "motion_fidelity[2] < motion_fidelity[1]")
    assert found.margin == pytest.approx(0.1) and found.verdict == "supported"


def test_few_references_decide_nothing(tmp_path: Path) -> None:
    rows = {delta: {f"r{i}/p/s0": shift for i in range(5)} for delta, shift in (("1", 0.1), ("2", 0.9))}
    found = judged(table_of(tmp_path, rows), "motion_fidelity[2] > motion_fidelity[1]")
    assert (found.verdict, found.why) == ("undecided", "fewer than 6 references")
    assert found.margin == pytest.approx(0.8)


@pytest.mark.parametrize("contended", [False, True])
def test_loop_ratios_of_a_busy_machine_are_not_told_apart_by_a_tenth(tmp_path: Path, contended: bool) -> None:
    """Whatever the spread over cases says: the whole sitting may be slower."""
    names = [f"r{i}" for i in range(12)]
    for job, (delta, seconds) in enumerate({"1": 4.0, "2": 4.4, "3": 8.0}.items()):
        records = [case_record(name, scores={"motion_fidelity": 0.5}) for name in names]
        cost = replace(records[0].cost, cpu_seconds={"guide": 0.0, "denoise": seconds}, contended=contended)
        records = [replace(record, cost=cost, seconds={"denoise": seconds}) for record in records]
        write_run(tmp_path / "rows" / str(job), [], records, {"skip.delta": delta}, job)
    table = tabulated(read_rows([tmp_path]))
    ratios = [line[table.columns.index("loop_ratio")] for line in table.entries]
    assert [ratio.mean for ratio in ratios] == pytest.approx([1.0, 1.1, 2.0])
    assert [ratio.significant for ratio in ratios] == [False, not contended, True]
    assert judged(table, "loop_ratio[2] > loop_ratio[1]").verdict == ("undecided" if contended else "supported")
    assert judged(table, "loop_ratio[3] > loop_ratio[1]").verdict == "supported"


TABLES = sorted(file.stem for file in (config_folder() / "experiment").glob("table_*.yaml"))


@pytest.mark.parametrize("name", [*TABLES, "tune_reuse"])
def test_the_claims_of_every_table_are_of_its_rows(tmp_path: Path, name: str) -> None:
    files = (
        config_folder() / "experiment" / f"{name}.yaml",
        config_folder() / f"experiment/preset/{name}_tiny_wan.yaml",
    )
    sweeper = OmegaConf.merge(*(OmegaConf.load(file) for file in files if file.is_file())).hydra.sweeper
    jobs = jobs_of(
        OmegaConf.create({"hydra": {"sweeper": {"_target_": ".GridSweeper", **sweeper}, "overrides": {"task": []}}})
    )
    table = OmegaConf.to_container(composed(f"experiment={name}").table, resolve=True)
    values = {f"r{i}/p/s0": 0.1 * i for i in range(8)}
    for job, words in enumerate(jobs):
        row = dict(sorted(word.split("=", 1) for word in words))
        write_run(tmp_path / "rows" / str(job), list(words), scored(values), row, job, table=table)
    found = verdicts(tabulated(read_rows([tmp_path]), ["motion_fidelity"]))
    assert found and not [each for each in found if "row is" in each.why]

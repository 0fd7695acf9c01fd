"""What an output folder holds already: finished cases that were made otherwise are not replaced unasked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fastvmt.algorithm import ALGORITHM
from fastvmt.engine.identity import config_hash, differences, weights_hash
from fastvmt.engine.plan import Plan
from fastvmt.errors import UserError
from fastvmt.files import read_json
from fastvmt.results.case_record import VERSION, CaseRecord, case_key
from fastvmt.results.folder import CaseFolder, RunFolder, other_version

SHOWN = 3
"""Differences that the error names."""
UNTOLD = "settings or files that its config.yaml does not tell apart"


@dataclass(frozen=True)
class Standing:
    """The finished cases of a run's folder beside what is asked for now; none with ``overwrite=true``."""

    plan: Plan
    folder: RunFolder
    records: list[CaseRecord]
    foreign: list[str]
    """Records of other versions of the program, in words."""

    @classmethod
    def of(cls, plan: Plan) -> Standing:
        """Read the folder of a plan. Raises :class:`UserError` for what stands where a file belongs and is none."""
        where = plan.cfg.output_dir
        folder = RunFolder(Path(where))
        if blocked := folder.in_the_way():
            raise UserError(f"output_dir={where}: {blocked[0]} is in the way, it is no plain file; remove it")
        cases = [] if plan.cfg.overwrite else folder.cases()
        records = [record for case in cases if (record := case.read()) is not None]
        return cls(plan, folder, records, [told for case in cases if (told := foreign(case))])

    def check(self) -> None:
        """Raise :class:`UserError` if cases were made otherwise, as far as that can be told before weights load."""
        if self.foreign:
            self._refuse(len(self.foreign), self.foreign[:1])
        if not self.records:
            return
        config, weights = config_hash(self.plan.cfg), weights_hash(self.plan.cfg)

        def told(record: CaseRecord) -> list[str]:
            settings = [] if record.config == config else self._settings() or [UNTOLD]
            arithmetic = f"version {ALGORITHM} of the program's arithmetic (there {record.algorithm})"
            stored = f"backbone.path with weights {weights[:12]} (there {record.weights[:12]})"
            return [
                *settings,
                *([] if record.algorithm == ALGORITHM else [arithmetic]),
                *([] if record.weights == weights else [stored]),
            ]

        self._compare(told)
        self._compare(self._case_apart())

    def _case_apart(self) -> Callable[[CaseRecord], list[str]]:
        """Compare contents of the cases that are asked for; only those that are there are read."""
        there = {record.id for record in self.records}
        keys = {case.id: case_key(case) for case in self.plan.cases if case.id in there}

        def told(record: CaseRecord) -> list[str]:
            same = keys.get(record.id, record.case) == record.case
            return [] if same else self._settings() or [f"another content of case {record.id}"]

        return told

    def _compare(self, told: Callable[[CaseRecord], list[str]]) -> None:
        """Refuse if something is told of a record."""
        others = [differing for record in self.records if (differing := told(record))]
        if others:
            self._refuse(len(others), others[0])

    def _settings(self) -> list[str]:
        """Name the keys that differ from those in the folder's ``config.yaml``, if it can be read."""
        try:
            there = OmegaConf.load(self.folder.config)
            return differences(self.plan.cfg, there) if isinstance(there, DictConfig) else []
        except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException):
            return []

    def _refuse(self, count: int, told: list[str]) -> None:
        """Raise the one error."""
        more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        raise UserError(
            f"output_dir={self.plan.cfg.output_dir} holds {count} finished case{'s' if count > 1 else ''} made "
            f"otherwise: {', '.join(told[:SHOWN])}{more}. Set another output_dir, or overwrite=true to replace them"
        )


def foreign(case: CaseFolder) -> str | None:
    """Tell of a record of another version of the program; None where there is none."""
    version = other_version(read_json(case.record)) if case.record.is_file() else None
    return None if version is None else f"{case.record} is of version {version}, this program writes {VERSION}"

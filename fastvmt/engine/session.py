"""One loaded model with its scores, cache and meters: transfers run on it, each with its record."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from fastvmt.algorithm import ALGORITHM
from fastvmt.backbones.base import Backbone
from fastvmt.cache import TensorCache
from fastvmt.cost.account import CostAccount
from fastvmt.cost.cost import Cost, peak
from fastvmt.cost.flops import transformer_flops
from fastvmt.cost.meters import Meters
from fastvmt.device import format_name
from fastvmt.divergence import Diverged
from fastvmt.engine import out_of_memory
from fastvmt.engine.cases import CLIP, checked_cases
from fastvmt.engine.fit import check_fit, memory_of
from fastvmt.engine.identity import config_hash, weights_hash
from fastvmt.engine.loaded import Loaded, Model
from fastvmt.engine.plan import Plan, cache_of, make_plan
from fastvmt.engine.record import Making, record_of
from fastvmt.engine.transfer import DivergedCase, Transfer
from fastvmt.errors import UserError
from fastvmt.literals import stored
from fastvmt.methods.state import Checkpoint
from fastvmt.methods.transfer import transfer_case
from fastvmt.results.case_record import CaseRecord, Identity, case_key
from fastvmt.results.cells import Cells
from fastvmt.results.provenance import maker
from fastvmt.score.scores import DIVERGED, Judged, Scores
from fastvmt.threads import computing_with
from fastvmt.types import PassCounter, TransferCase, Video


@dataclass(eq=False)
class Session:
    """Owns what is loaded and transfers any number of cases on it. A context manager that lets go of the model."""

    plan: Plan
    loaded: Loaded | None
    """None once the session is closed."""

    @cached_property
    def cache(self) -> TensorCache:
        """Where readings of references are kept; counts those that this session had to compute."""
        return cache_of(self.plan.cfg)

    @cached_property
    def key(self) -> str:
        """Hash of the configuration."""
        return config_hash(self.plan.cfg)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the model, the scores and their memory; the session transfers nothing afterwards."""
        self.loaded = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _open(self) -> Loaded:
        """Give what is loaded. Raises ``ValueError`` after :meth:`close`."""
        if self.loaded is None:
            raise ValueError("the session is closed: open another one")
        return self.loaded

    @property
    def backbone(self) -> Backbone:
        """The model, loaded when it is first asked for. Raises ``ValueError`` after :meth:`close`."""
        return self._open().load().backbone

    @property
    def scores(self) -> Scores:
        """The loaded scores. Raises as :attr:`backbone`."""
        return self._open().scores

    @property
    def meters(self) -> Meters:
        """What measures the cost of a case. Raises as :attr:`backbone`."""
        return self._open().load().meters

    @property
    def model(self) -> Model | None:
        """The model with its meters, if something had to be generated. Raises as :attr:`backbone`."""
        return self._open().model

    def under(self, cfg: DictConfig) -> Session:
        """Give a session of another configuration on what this one has loaded.

        Raises :class:`UserError` for a configuration that is not valid, and ``ValueError`` for one that asks for
        another backbone, other scores or another tracker.
        """
        if group := self._open().differs(cfg):
            raise ValueError(f"{group} differs from the one that is loaded: open a session of its own")
        return replace(self, plan=make_plan(cfg))

    def transfer(self, video: str | Path, prompt: str, **clip: Any) -> Transfer:
        """Make a video that shows ``prompt`` and moves as ``video`` moves; writes nothing but the caches.

        ``clip`` are the command line's keys for it: seed and those in ``cases.CLIP``.
        Raises :class:`UserError` for a clip that does not fit, and as :meth:`transfer_case`.
        """
        return self.transfer_case(self._case_of({"video": str(video), "prompt": prompt, **clip}))

    def _case_of(self, clip: Mapping[str, Any]) -> TransferCase:
        """Read a clip as a case."""
        if unknown := [key for key in clip if key not in ("video", "seed", *CLIP)]:
            raise UserError(f"{unknown[0]}= is not a key of a clip; it has {', '.join(('seed', *CLIP))}")
        cfg = self.plan.cfg.copy()
        for key, value in clip.items():
            OmegaConf.update(cfg, key, stored(value) if isinstance(value, str) else value)
        return checked_cases(cfg, self.plan.layout)[0]

    def transfer_case(
        self,
        case: TransferCase,
        *,
        on_step: Callable[[int], None] | None = None,
        on_iteration: Callable[[dict[str, float]], None] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Transfer:
        """Generate the video of a case and score it; the functions hear of every step and inner iteration.

        From the state that ``checkpoint`` holds, the case goes on to the same result.
        Raises :class:`fastvmt.divergence.Diverged`, a ``FloatingPointError``, when the numbers leave their range,
        :class:`UserError` when the device runs out of memory, and ``ValueError`` after :meth:`close`.
        """
        found = self.attempt(case, on_step=on_step, on_iteration=on_iteration, checkpoint=checkpoint)
        if isinstance(found, DivergedCase):
            raise found.error
        return found

    def attempt(
        self,
        case: TransferCase,
        *,
        on_step: Callable[[int], None] | None = None,
        on_iteration: Callable[[dict[str, float]], None] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Transfer | DivergedCase:
        """Do as :meth:`transfer_case`, but give what is known of a case that diverged."""
        plan = self.plan
        account = self.meters.account()
        trace: list[dict[str, float]] = []

        def follow(row: dict[str, float]) -> None:
            trace.append(row)
            if on_iteration is not None:
                on_iteration(row)

        try:
            with out_of_memory.refused(plan.cfg.backbone), computing_with(plan.cfg.threads), account:
                result = transfer_case(
                    self.backbone,
                    plan.method,
                    plan.sampler,
                    case,
                    self.cache,
                    on_step=on_step,
                    on_iteration=follow,
                    watch=account.watch,
                    checkpoint=checkpoint,
                )
        except Diverged as error:
            return self._diverged(case, error, trace, account)
        start = time.perf_counter()
        judged = self.judged(case, result.video)
        cost = self._cost(account, result.passes, time.perf_counter() - start)
        cost = cost.of_the_rest() if result.went_on else cost
        return Transfer(result, self._record(case, result.passes, result.seconds, judged, cost, result.video))

    def _diverged(
        self, case: TransferCase, error: Diverged, trace: list[dict[str, float]], account: CostAccount
    ) -> DivergedCase:
        """Give what is known of a case that diverged: its scores are missing, its cost is that so far."""
        passes = replace(self.backbone.passes)
        scores = self.scores.nothing(DIVERGED)
        found = error.found
        if found.loss is None and trace:
            found = replace(found, loss=trace[-1]["loss"])
        record = self._record(case, passes, account.watch.totals(), scores, self._cost(account, passes, 0.0))
        return DivergedCase(Diverged(found, case.id), replace(record, diverged=found), trace)

    def judged(self, case: TransferCase, video: Video, without: Container[str] = ()) -> Judged:
        """Score a case's video, but for the scores named in ``without``."""
        with out_of_memory.refused_scores(), computing_with(self.plan.cfg.threads):
            return self.scores(case, video, without)

    @cached_property
    def weights(self) -> str:
        """SHA-256 of the backbone's weights, which need not be loaded for it."""
        return weights_hash(self.plan.cfg)

    @cached_property
    def cells(self) -> Cells:
        """Where videos are kept for other runs."""
        return cells_of(self.plan.cfg)

    def identity(self, case: TransferCase) -> Identity:
        """Tell what the record of a case would stand for."""
        scores = self.scores
        return Identity(self.key, ALGORITHM, self.weights, case_key(case), scores.versions, scores.judges)

    def _cost(self, account: CostAccount, passes: PassCounter, scoring: float) -> Cost:
        flops = transformer_flops(self.plan.layout, passes, memory_of(self.plan.cfg))
        with computing_with(self.plan.cfg.threads):  # whose number the account holds
            return account.report(self.plan.layout.frames, scoring, flops)

    def _record(
        self,
        case: TransferCase,
        passes: PassCounter,
        seconds: dict[str, float],
        judged: Judged,
        cost: Cost,
        generated: Video | None = None,
    ) -> CaseRecord:
        plan = self.plan
        making = Making(
            config=self.key,
            weights=self.weights,
            seconds=seconds,
            passes=passes,
            declared_passes=plan.method.budget(plan.layout, plan.sampler),
            cost=cost,
            reference_cache={"hits": self.cache.hits, "misses": self.cache.misses},
            peak_memory_gib=peak_memory(cost),
            device=str(self.backbone.device),
            maker=maker() | {"dtype": format_name(self.backbone.dtype)},
        )
        return record_of(case, generated, judged, self.scores, making)


def peak_memory(cost: Cost) -> dict[str, float]:
    """Give the process' peak resident memory since it started and the case's peak in device tensors, GiB."""
    memory = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
    allocated = peak(cost.memory_gib, "allocated")
    return memory if allocated is None else memory | {"device": allocated}


def cells_of(cfg: DictConfig) -> Cells:
    """Tell where a configuration keeps videos for other runs."""
    return Cells(None if cfg.cache_dir is None else Path(cfg.cache_dir) / "cells")


def open_session(cfg: DictConfig) -> Session:
    """Check a composed configuration and load what it needs. Raises :class:`UserError` for what the user can mend."""
    plan = make_plan(cfg)
    check_fit(plan)
    loaded = Loaded(plan)
    loaded.load()
    return Session(plan, loaded)

"""Methods for tests: FastVMT and the tuned methods with explicit small numbers, the others from their yaml files."""

from __future__ import annotations

from dataclasses import replace

from fastvmt.construct import construct
from fastvmt.methods.base import Method
from fastvmt.methods.det import DeT
from fastvmt.methods.fastvmt import FastVMT
from fastvmt.methods.motion_director import MotionDirector
from fastvmt.methods.motion_inversion import MotionInversion
from fastvmt.methods.tuned import Tuned
from fastvmt.settings import Guidance, HeadReduce, Reduction, Skip, TileQuery, Window
from fastvmt.trackers.dis import DisTracker
from fastvmt.tuning.inversion import Inversion
from fastvmt.tuning.loop import Tuning
from helpers.config import composed

OPTIMISED = ["ditflow", "moft", "smm", "flowmotion"]
TUNED = ("motion_inversion", "motion_director", "det")
TUNING = Tuning(iterations=5, lr=0.02, shift=3.0, checkpoint_every=2)
WINDOW = Window(l=3, sf=2, tile=[2, 2], tau=4.0, query=TileQuery.centre, centre_gradient=True)
GUIDANCE = Guidance(
    fraction=0.5,
    iterations=5,
    lr=0.02,
    lr_end=0.01,
    block=1,
    amf_weight=5.0,
    window_weight=0.0,
    reduction=Reduction.mean,
    alpha=0.2,
    reference_noise=0.2,
    rope=False,
    head_reduce=HeadReduce.mean_logit,
    weight_decay=0.0,
    reference_seed=1234,
)


def method_of(option: str, *changes: str) -> Method:
    """The method of a yaml, reading block 1 in half of the steps."""
    few = [] if option == "motionclone" else ["method.iterations=3"]
    half = ["guidance.block=1", "method.fraction=0.5", *few]
    method = construct(
        composed(f"method={option}", *half, *(f"method.{change}" for change in changes)).method, "method"
    )
    assert isinstance(method, Method)
    return method


def fastvmt(window: Window = WINDOW, delta: int = 2, **guidance: object) -> FastVMT:
    return FastVMT(window, Skip(delta), replace(GUIDANCE, **guidance))


def inversion_method(tuning: Tuning = TUNING, share: float = 0.0, **settings: object) -> MotionInversion:
    return MotionInversion(tuning, Inversion(share, 4), **({"blocks": [1, 2]} | settings))


def director(tuning: Tuning = TUNING, share: float = 0.0, **settings: object) -> MotionDirector:
    return MotionDirector(tuning, Inversion(share, 4), **({"rank": 4, "skip_spatial": 0.5} | settings))


def det(tuning: Tuning = TUNING, **settings: object) -> DeT:
    return DeT(tuning, DisTracker(64), **({"channels": 16, "initial": "kaiming", "points": 4} | settings))


def make(name: str, tuning: Tuning = TUNING, **settings: object) -> Tuned:
    return {"motion_inversion": inversion_method, "motion_director": director, "det": det}[name](tuning, **settings)

"""Files of a run carry the marks that are asked for; scores and hashes are of the frames without them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastvmt.data.frame_folder import read_clip
from fastvmt.data.resample import shrunk
from fastvmt.engine.plan import make_plan
from fastvmt.engine.run import run
from fastvmt.errors import UserError
from fastvmt.results.provenance import frames_sha256
from fastvmt.watermark import THRESHOLD, detect
from helpers.config import composed

SMALL = ("sampler.steps=1", "method=none", "metrics=fast", "cache_dir=null", "logger.mode=disabled", "lossless=true")


@pytest.mark.slow
def test_a_run_with_both_marks(tmp_path: Path) -> None:
    c2pa = pytest.importorskip("c2pa", reason="needs the extra c2pa, which brings cryptography")
    certificates = pytest.importorskip("helpers.certificates").certificates
    chain, key = certificates(tmp_path)
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret of ours")
    marks = [f"provenance.certificate={chain}", f"provenance.private_key={key}", f"provenance.watermark={secret}"]
    for name, words in (("plain", []), ("marked", marks)):
        run(composed(*SMALL, f"output_dir={tmp_path / name}", *words))
    plain, made = (next((tmp_path / name / "cases").iterdir()) for name in ("plain", "marked"))
    before, after = (json.loads((folder / "case.json").read_text()) for folder in (plain, made))
    assert before["scores"] == after["scores"] and before["frames_sha256"] == after["frames_sha256"]
    for name in ("generated", "generated_lossless"):
        with c2pa.Reader(made / f"{name}.mp4") as reader:
            assert str(reader.get_validation_state()) == "Valid"
        assert detect(read_clip(made / f"{name}.mp4"), secret.read_bytes()) > THRESHOLD
        assert detect(read_clip(plain / f"{name}.mp4"), secret.read_bytes()) < THRESHOLD
    assert frames_sha256(read_clip(plain / "generated_lossless.mp4")) == after["frames_sha256"]["generated"]
    assert detect(shrunk(read_clip(made / "generated.mp4"), 4), secret.read_bytes()) > THRESHOLD
    for name in ("reference", "reference_lossless"):  # not ours
        assert detect(read_clip(made / f"{name}.mp4"), secret.read_bytes()) < THRESHOLD
    with c2pa.Reader(made / "side_by_side.mp4") as reader:
        assert "compositeWithTrainedAlgorithmicMedia" in reader.json()
    assert b"a secret of ours" not in b"".join(f.read_bytes() for f in made.parent.parent.rglob("*.*") if f.is_file())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["provenance.certificate=a.pem"], r"provenance\.certificate= and provenance\.private_key= go together"),
        (["provenance.private_key=a.pem"], r"provenance\.certificate= and provenance\.private_key= go together"),
        (["provenance.watermark=none.txt"], r"provenance\.watermark=none\.txt does not exist"),
        (["provenance.watermark=a", "backbone.height=48"], r"provenance\.watermark=a needs frames of at least 56 x 56"),
        (["+provenance.key=a"], r"provenance\.key is not a key"),
    ],
)
def test_marks_are_checked_before_weights_load(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(composed(*words))

"""Signed manifests: read back whole, broken by any change, and refused early for certificates that do not serve."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fastvmt.credentials import COMPOSITE, read_signer, sign
from fastvmt.data.video import read_metadata, read_video, write_video
from helpers.clips import clip

c2pa = pytest.importorskip("c2pa", reason="needs the extra c2pa, which brings cryptography")

certs = pytest.importorskip("helpers.certificates", reason="needs cryptography")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video with a manifest of a throw-away certificate; ``plain.mp4`` beside it has none."""
    folder = tmp_path_factory.mktemp("signed")
    write_video(folder / "plain.mp4", clip(5), {"title": "a dog", "comment": "AI-generated"})
    shutil.copy(folder / "plain.mp4", folder / "made.mp4")
    sign(folder / "made.mp4", read_signer(*certs.certificates(folder, "A lab of ours")), COMPOSITE)
    return folder / "made.mp4"


def state(file: Path) -> str:
    """What a reader of manifests says of a file."""
    with c2pa.Reader(file) as reader:
        return str(reader.get_validation_state())


def test_the_manifest_says_what_made_the_file_and_who_signed(signed: Path) -> None:
    with c2pa.Reader(signed) as reader:
        manifest = json.loads(reader.json())
    active = manifest["manifests"][manifest["active_manifest"]]
    assert active["title"] == "made.mp4" and active["claim_generator_info"][0]["name"] == "fastvmt"
    assert active["signature_info"]["issuer"] == "A lab of ours"
    (actions,) = (each["data"]["actions"] for each in active["assertions"] if each["label"].startswith("c2pa.actions"))
    assert actions[0]["action"] == "c2pa.created" and actions[0]["digitalSourceType"].endswith(COMPOSITE)
    assert state(signed) == "Valid"


def test_pictures_and_tags_are_as_before(signed: Path) -> None:
    plain = signed.with_name("plain.mp4")
    assert read_video(signed).frames_THWC.equal(read_video(plain).frames_THWC)
    assert read_metadata(signed) == read_metadata(plain)
    assert not list(signed.parent.glob("*.partial"))


def test_a_changed_file_is_no_longer_valid(signed: Path, tmp_path: Path) -> None:
    content = bytearray(signed.read_bytes())
    content[content.rindex(b"mdat") + 100] ^= 1
    (tmp_path / "changed.mp4").write_bytes(content)
    assert state(tmp_path / "changed.mp4") == "Invalid"


def test_certificates_that_do_not_serve_are_told(tmp_path: Path) -> None:
    chain, key = certs.certificates(tmp_path)
    (tmp_path / "other").mkdir()
    _, other = certs.certificates(tmp_path / "other")
    with pytest.raises(ValueError, match=r"private_key=.* is not the key of provenance\.certificate="):
        read_signer(chain, other)
    for files in ((tmp_path / "none.pem", key), (key, key), (chain, chain)):
        with pytest.raises(ValueError, match=r"provenance\.certificate=.* provenance\.private_key=.* must be PEM"):
            read_signer(*files)


def test_a_certificate_that_signed_itself_is_refused(tmp_path: Path) -> None:
    own, key = certs.own(tmp_path)
    write_video(tmp_path / "made.mp4", clip(5))
    before = (tmp_path / "made.mp4").read_bytes()
    with pytest.raises(ValueError, match=r"provenance\.certificate= cannot sign made\.mp4"):
        sign(tmp_path / "made.mp4", read_signer(own, key))
    assert (tmp_path / "made.mp4").read_bytes() == before

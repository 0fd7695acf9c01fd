"""The page of a study: all is there in its order, nothing comes from outside, words stay words."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from fastvmt.studies.forms import one_line
from fastvmt.studies.report.page import write_page
from fastvmt.studies.report_command import main
from helpers.pages import Seen, write_study
from helpers.records import case_record
from helpers.studies import scored, write_run

SECTIONS = ["warnings", "claims", "table", "charts", "cases", "gallery", "configurations", "downloads"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with its page."""
    folder = write_study(tmp_path_factory.mktemp("a study, 50% #1"))
    assert main([str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def seen(study: Path) -> Seen:
    """Its page."""
    return Seen((study / "report" / "index.html").read_text(encoding="utf-8"))


def test_sections_stand_in_their_order(seen: Seen) -> None:
    assert [each["id"] for each in seen.of("section") if each.get("class") != "case"] == SECTIONS
    header = seen.elements.index(("header", {}))
    assert header < seen.elements.index(("main", {}))


def test_every_link_leads_to_a_file_of_the_study_or_a_place_on_the_page(seen: Seen, study: Path) -> None:
    places = {each["id"] for _, each in seen.elements if "id" in each}
    files = [address for address in seen.addresses if not address.startswith(("#", "data:"))]
    assert len(files) >= 4 + 2 * 3 * 2  # downloads; videos and posters of two cases
    for address in files:
        assert (study / "report" / unquote(address)).is_file(), address
    for address in (address for address in seen.addresses if address.startswith("#")):
        assert address[1:] in places


def test_nothing_comes_from_outside(seen: Seen, study: Path) -> None:
    html = (study / "report" / "index.html").read_text(encoding="utf-8")
    assert "http://" not in html and "https://" not in html and "@import" not in html
    assert not [address for address in seen.addresses if "://" in address or address.startswith(("//", "/"))]
    assert not seen.of("link")[1:] and seen.of("link")[0] == {"rel": "icon", "href": "data:,"}
    assert not any(name.startswith("on") for _, each in seen.elements for name in each)


def test_videos_wait_until_they_are_seen_and_lie_on_one_clock(seen: Seen) -> None:
    videos = seen.of("video")
    assert len(videos) == 2 * 3  # the reference and two rows of two cases
    for video in videos:
        assert "src" not in video and "poster" not in video and video["preload"] == "none"
        assert (video["data-frames"], video["data-fps"]) == ("3", "8.0")
    assert {"play", "back", "forward"} <= {each.get("id") for each in seen.of("button")}
    assert len([each for each in seen.of("button") if each.get("class") == "motion"]) == 3


def test_posters_are_first_frames_made_once(study: Path) -> None:
    posters = sorted((study / "report" / "posters").iterdir())
    assert len(posters) == 2 + 4  # both rows have the same references
    shades = sorted(Image.open(file).convert("L").getpixel((3, 3)) for file in posters)
    assert shades == pytest.approx([0, 10, 100, 110, 150, 160], abs=6)
    before = {file: file.stat().st_mtime_ns for file in posters}
    (study / "report" / "posters" / "old.jpg").touch()
    write_page(study)
    assert {file: file.stat().st_mtime_ns for file in (study / "report" / "posters").iterdir()} == before


def test_the_worst_case_stands_first_and_leads_to_its_videos(seen: Seen, study: Path) -> None:
    links = [each["href"] for each in seen.of("a") if (each.get("href") or "").startswith("#case-")]
    assert links == ["#case-2", "#case-1"]
    assert "-0.200" in seen.words["cases"]
    assert "r1/p0/s0" in seen.words["case-2"]


def test_the_configurations_that_differ_are_at_hand(seen: Seen) -> None:
    assert json.loads(seen.words["rows"]) == {"names": ["l=3", "l=5"], "keys": {"window.l": ["3", "5"]}}


def test_columns_are_the_users_choice(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_page(study, ["gradients"])
    words = Seen((study / "report" / "index.html").read_text()).words["table"]
    assert "gradients" in words and "motion fidelity" not in words
    write_page(study)
    assert main([str(study), "--columns", "nope"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastvmt.report: --columns nope: the runs have motion_fidelity") and error.count("\n") == 1


def test_a_folder_without_runs_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "holds no finished run" in error and error.count("\n") == 1


def test_claims_parts_and_published_numbers_stand_with_the_table(tmp_path: Path) -> None:
    spec = {
        "question": "What does delta save?",
        "claims": ["motion_fidelity[2] > motion_fidelity[1]"],
        "parts": {"readable": [], "small": ["tiny"]},
        "published": "fastvmt_delta",
    }
    for job, delta in enumerate("12"):
        values = {f"{'tiny' if i < 3 else 'r'}{i}/p0/s0": 0.1 * i + job for i in range(8)}
        write_run(tmp_path / "rows" / delta, [], scored(values), {"skip.delta": delta}, job, table=spec)
    seen = Seen(write_page(tmp_path).read_text())
    assert "What does delta save?" in seen.words["question"]
    assert "supported" in seen.words["claims"] and "1.000" in seen.words["claims"]
    assert "readable" in seen.words["table"] and "1.100 (3)" in seen.words["table"]  # mean of 1.0, 1.1, 1.2
    assert "173.9" in seen.words["table"]


def test_a_case_without_video_says_why(tmp_path: Path) -> None:
    folder = write_study(tmp_path)
    for name in ("generated.mp4", "reference.mp4"):
        (folder / "rows" / "l=3" / "cases" / "r0-p0-s0" / name).unlink()
    (folder / "rows" / "l=5" / "cases" / "r0-p0-s0" / "generated.mp4").write_bytes(b"no video")
    seen = Seen(write_page(folder).read_text())
    assert "its file is gone" in seen.words["case-1"]
    assert len(seen.of("video")) == 5  # the reference is the other row's; a damaged video has no poster


def test_rows_of_several_references_and_prompts_show_each(tmp_path: Path) -> None:
    """Under one case id: nobody sees a video beside a reference that it does not follow, as if it did."""
    folder = write_study(tmp_path)
    hashes = [{"generated": f"5 {i}", "reference": f"other {i}"} for i in range(2)]
    other = [case_record(f"r{i}/p0/s0", frames_sha256=each, prompt="a cat", frames=5) for i, each in enumerate(hashes)]
    write_run(folder / "rows" / "l=5", ["window.l=5"], other, {"window.l": "5"}, 1)
    seen = Seen(write_page(folder).read_text())
    case = seen.words["case-1"]
    assert "reference of l=3" in case and "reference of l=5" in case
    assert "a dog on grass (l=3); a cat (l=5)" in case
    assert [each["data-frames"] for each in seen.of("video")][:4] == ["3", "5", "3", "5"]
    assert "another prompt than in l=3" in seen.words["warnings"].lower()


HOSTILE = st.text(
    st.one_of(st.sampled_from("<>\"'&`{}%#/-\\\n\0\ud800\u202e"), st.characters(exclude_categories=[])), max_size=20
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is written to again and again."""
    return tmp_path_factory.mktemp("hostile")


def hostile_page(place: Path, words: str) -> Seen:
    """The page of a study in which everything that a user names has some words in it."""
    for job, row in enumerate(("one", "two")):
        records = [case_record(f"{i}{words}/p0/s0", prompt=f"x{words}", reference=f"x{words}") for i in range(2)]
        table = {"question": f"x{words}", "claims": [f"x{words}"]}
        config = {"table": table, "method": {f"x{words}": f"{job}{words}"}}
        write_run(place / "rows" / row, [f"x{words}={row}"], records, {"a.key": f"{row}{words}"}, job, **config)
    return Seen(write_page(place).read_text(encoding="utf-8"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("</script><script>alert(1)</script>")
@example("</style><img src=x onerror=alert(1)>")
@example("\"' autofocus onfocus=alert(1) x='")
@example("{{ 7 * 7 }}{% raw %}-->]]>&lt;b&gt;")
@given(words=HOSTILE)
def test_hostile_words_stay_words(place: Path, words: str) -> None:
    seen, harmless = hostile_page(place, words), hostile_page(place, "")
    assert seen.shape == harmless.shape
    assert one_line(f"x{words}") in seen.words["case-1"]
    assert one_line(f"one{words}") in seen.words["table"]
    assert one_line(f"0{words}") in json.loads(seen.words["rows"])["keys"][one_line(f"method.x{words}")]

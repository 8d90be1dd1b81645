from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mupd.base import pages
from mupd.base.files import write_json
from mupd.config import Config
from mupd.errors import ModelError
from mupd.inputs.runners import in_place
from mupd.reports.record.fields import FIELDS
from mupd.stages.cohort import run
from mupd.stages.cohort.case_values import RnaValues
from mupd.stages.cohort.join_shards import join_shards
from mupd.stages.cohort.model_figures import read_metrics
from mupd.stages.cohort.plots import TOP_GENES, rna_plot
from mupd.stages.cohort.read_case_values import read_case_values
from mupd.stages.cohort.report import TEMPLATES, ReportContent, write_report
from mupd.stages.cohort.review_notes import MOST_NAMED, review_notes
from mupd.stages.cohort.thumbnails import MAGENTA, data_uri, heat, mark_synthetic
from tests.fixtures import cohort as cohort_fixtures
from tests.fixtures.cohort import EVIL, GENES, Plan, make_cohort, profile, tissue_picture


class Page(HTMLParser):
    """Collects what would be loaded or run, and the text of the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.loaded: list[str] = []
        self.handlers: list[str] = []
        self.styles: list[str] = []
        self.ids: list[str] = []
        self.pictures: list[tuple[str, str]] = []
        self.csp = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        given = {name: value or "" for name, value in attrs}
        self.ids += [given["id"]] if "id" in given else []
        self.handlers += [name for name in given if name.startswith("on")]
        self.styles += ["style"] if "style" in given else []
        if given.get("http-equiv") == "Content-Security-Policy":
            self.csp = given["content"]
        if tag == "img":
            self.pictures.append((given["src"], given["alt"]))
        self.loaded += [given[name] for name in ("src", "href") if name in given]
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, str]:
    config = make_cohort(tmp_path_factory.mktemp("report"))
    return config, run(config)[2].read_text(encoding="utf-8")


def test_the_page_is_self_contained_and_runs_only_its_own_script(finished: tuple[Config, str]) -> None:
    config, html = finished
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert "default-src 'none'" in page.csp
    assert "unsafe" not in page.csp
    assert page.scripts == [pages.SCRIPT.read_text()]
    assert pages.csp_hash(page.scripts[0]) in page.csp
    style = pages.STYLE.read_text() + (TEMPLATES / "report.css").read_text()
    assert pages.csp_hash(style) in page.csp
    assert not page.handlers
    assert not page.styles
    beside = [target for target in page.loaded if not target.startswith(("#", "data:image/jpeg;base64,"))]
    assert beside == ["data_card.md", "ro-crate-metadata.json"]  # links to follow; nothing is loaded from them
    assert all((config.out / name).is_file() for name in beside)
    assert not re.search(r"https?://", html)


def test_what_a_sheet_says_is_never_markup(finished: tuple[Config, str]) -> None:
    _, html = finished
    assert EVIL not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 2


def test_no_paths_of_the_user_and_no_measured_text(finished: tuple[Config, str]) -> None:
    config, html = finished
    assert str(config.out.parent) not in html
    assert "Jane Secret" not in html
    assert "<b>9 words</b>" in html  # ten before the name was masked
    assert "report.show_measured_text is off" in html


def test_measured_text_is_shown_where_asked(tmp_path: Path) -> None:
    config = make_cohort(tmp_path, (Plan("A"),), report={"show_measured_text": True})
    html = run(config)[2].read_text()
    assert "invasive ductal carcinoma" in html
    assert "Jane Secret" not in html  # shown as it is read: without names


def test_two_cases_with_the_same_text_need_a_look(tmp_path: Path) -> None:
    html = run(make_cohort(tmp_path, (Plan("A", ("text",)), Plan("B", ("text", "he")), Plan("C", ("he",)))))[
        2
    ].read_text()
    said = re.findall(r"It has the same content as (\w+)", html)
    assert said == ["B", "A"]


def test_a_field_of_which_nothing_is_told_names_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def untold(seed: int, certainty: float = 6.0) -> dict[str, Any]:
        even = {"value": None, "abstained": True, "probabilities": dict.fromkeys(FIELDS["grade"], 1 / 3)}
        return made(seed, certainty) | {"grade": even}

    made = cohort_fixtures.record
    monkeypatch.setattr(cohort_fixtures, "record", untold)
    html = run(make_cohort(tmp_path, (Plan("A", ("rna",)),)))[2].read_text()
    assert html.count("<strong>undetermined</strong>, all values equally probable") == 1
    assert "<td>Grade</td><td><strong>undetermined</strong>, all" in html
    assert "most probable" not in html.split("<td>Grade</td>")[1].split("</tr>")[0]


def test_an_undetermined_field_says_so(tmp_path: Path) -> None:
    config = make_cohort(tmp_path, (Plan("A", ("rna",)),), check={"abstain_below": 1.0})
    html = run(config)[2].read_text()
    assert html.count("<strong>undetermined</strong>, most probable") == len(FIELDS)
    assert "Every field is undetermined." in html
    certain = make_cohort(tmp_path / "b", (Plan("A", ("rna",)),), check={"abstain_below": 0.0})
    assert "<strong>undetermined</strong>" not in run(certain)[2].read_text()


def test_every_case_has_its_section_and_every_link_a_target(finished: tuple[Config, str]) -> None:
    config, html = finished
    page = Page(html)
    assert {f"case-{case.case_id}" for case in join_shards(config)} <= set(page.ids)
    assert {target[1:] for target in page.loaded if target.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_the_page_says_what_happened(finished: tuple[Config, str]) -> None:
    _, html = finished
    for words in (
        "Synthetic data are not measurements and not for diagnosis",
        "mupd-test",
        "abababababab",
        "nothing to condition on",
        "the slide is truncated",
        "the sampler left values not finite",
        "SYNTHETIC - NOT FOR DIAGNOSIS",
        "3 draws, each of n = 6 tiles",
        "n = 5 spots",
        "4 modalities failed",
        "Not measured: the model's folder holds no metrics",
    ):
        assert words in html, words


def test_the_headline_and_the_bars_count_the_same_failures(finished: tuple[Config, str]) -> None:
    _, html = finished
    bars = html[html.index('<div class="bars">') : html.index('<ul class="legend">')]
    in_bars = sum(int(number) for number in re.findall(r"<title>failed: (\d+)</title>", bars))
    # One task failed; the case with nothing usable has none, but three modalities that are not there.
    assert in_bars == 4
    assert f"{in_bars} modalities failed" in html


def test_synthetic_pictures_are_marked_in_their_pixels_and_measured_ones_are_not(finished: tuple[Config, str]) -> None:
    _, html = finished
    seen = set()
    for uri, words in Page(html).pictures:
        data = base64.b64decode(uri.split(",")[1])
        pixels = np.asarray(Image.open(io.BytesIO(data)), int)
        assert max(pixels.shape) <= 512
        magenta = np.abs(pixels - np.array(MAGENTA)).max(axis=2) < 40
        frame = np.concatenate([magenta[:6].ravel(), magenta[-6:].ravel()])
        assert (frame.mean() > 0.3) == words.startswith("Synthetic")
        seen.add(words.split()[0])
    assert seen == {"Measured", "Synthetic"}


def test_the_band_crosses_the_picture_and_small_ones_are_enlarged() -> None:
    marked = mark_synthetic(np.full((64, 96, 3), 255, np.uint8))
    assert max(marked.shape) == 256
    height, width = marked.shape[:2]
    for share in (0.2, 0.4, 0.6, 0.8):
        y, x = int(height * (1 - share)), int(width * share)
        assert marked[y - 8 : y + 9, x - 8 : x + 9].mean() < 240
    assert marked[height // 4, width // 4].tolist() == [255, 255, 255]


def test_metrics_are_shown_and_broken_ones_are_an_error(tmp_path: Path) -> None:
    config = make_cohort(tmp_path, (Plan("A", ("text",)),))
    path = Path(config.model) / "metrics.json"
    write_json(path, {"gene correlation <b>": {"value": 0.2134, "baseline": 0.0, "note": "patient C"}})
    html = run(config)[2].read_text()
    assert "gene correlation &lt;b&gt;" in html
    assert "0.2134" in html
    assert "Not measured: the model" not in html
    found = {"value": 0.2, "interval_95": [0.1, 0.3], "baseline": 0.05}
    named = {"shuffled": {"value": 0.05, "interval_95": [-0.1, 0.1]}, "JPEG": {"value": 36.9449}}
    write_json(path, {"plain": found, "named": found | {"baselines": named}})
    html = " ".join(run(config)[2].read_text().split())
    assert "<b>0.2</b> (0.1 to 0.3)</td><td>0.05</td>" in html
    assert "<td>JPEG: 36.94; shuffled: 0.05 (-0.1 to 0.1)</td>" in html
    write_json(path, {"gene correlation": 0.2})
    with pytest.raises(ModelError, match=r"metrics\.json"):
        read_metrics(Path(config.model))


def test_only_the_first_cases_have_pictures_and_the_page_says_so(tmp_path: Path) -> None:
    config = make_cohort(tmp_path, tuple(Plan(f"C{index}") for index in range(3)))
    cases = join_shards(config)
    values = read_case_values(cases, config, GENES, in_place(config, GENES), most_pictured=2)
    path = tmp_path / "short.html"
    write_report(path, cases, values, config, ReportContent(GENES, "", "", most_pictured=2))
    html = path.read_text()
    assert len(Page(html).pictures) == 2
    assert html.count('<svg class="plot') == 2
    assert "pictures and plots are shown for the first 2 only" in html
    assert "none used: nothing was generated" in html


def test_twelve_cases_with_full_pictures_stay_under_three_megabytes(tmp_path: Path) -> None:
    plans = tuple(Plan(f"C{index}", measured=("rna",)) for index in range(12))
    config = make_cohort(tmp_path, plans, slide={"width_px": 512, "height_px": 512, "mpp": 0.5})
    assert run(config)[2].stat().st_size < 3_000_000


def test_plot_shows_the_highest_genes_with_every_draw_inside_the_axes() -> None:
    draws = {number: profile(number)[0] for number in range(3)}
    mean = np.mean(list(draws.values()), axis=0)
    plot = rna_plot(RnaValues(mean, draws), GENES, profile(9)[0], 4)
    assert plot is not None
    assert plot.synthetic
    assert len(plot.rows) == TOP_GENES
    assert [row.gene for row in plot.rows] == [GENES[index] for index in np.argsort(-mean, kind="stable")[:TOP_GENES]]
    for row in plot.rows:
        assert len(row.points) == 3
        assert row.low == min(row.points)
        assert row.high == max(row.points)
        assert all(plot.left <= x <= plot.right for x in (*row.points, row.mean, row.cohort))
    assert "3 draws, n = 1 profile each" in plot.caption
    assert rna_plot(RnaValues(np.full(len(GENES), np.nan, np.float32)), GENES, None, 0) is None


def test_thumbnail_is_a_jpeg() -> None:
    assert data_uri(tissue_picture(1, 64, 64)).startswith("data:image/jpeg;base64,/9j/")


def test_the_map_of_differing_draws_is_shown_marked(tmp_path: Path) -> None:
    from mupd.base.ids import shard_of
    from mupd.stages.export import run_shard as export_shard

    config = make_cohort(tmp_path, (Plan("A", ("rna", "text")),), draws={"he": 2, "rna": 2, "text": 2})
    export_shard(config, shard_of("A", config.shards))
    run(config)
    page = (config.out / "report.html").read_text(encoding="utf-8")
    assert "Where the 2 draws differ: standard deviation of optical density, dark 0 to light 0." in page
    assert page.count('<figure class="frame synthetic">') == 3
    assert "artifacts/A/he/synthetic-uncertainty" in page


def test_heat_goes_from_dark_to_light() -> None:
    colours = heat(np.linspace(0, 2, 50, dtype=np.float32)[None], 2.0)
    lightness = colours.astype(int).sum(axis=2)[0]
    assert (np.diff(lightness) > 0).all()
    assert heat(np.zeros((2, 2), np.float32), 0.0).max() < 60


def _overview(*rows: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    plain = {
        "name": "H&E",
        "state": "accepted",
        "word": "synthetic",
        "status": "missing",
        "reason": "",
        "why": "",
        "same": "",
    }
    return [{"id": case, "parts": [plain | {"look": True} | part]} for case, part in rows]


def test_a_sentence_about_many_cases_stands_once() -> None:
    many = [(f"C{number:02}", {"why": "a guess"}) for number in range(MOST_NAMED + 3)]
    other_modality = ("D", {"why": "a guess", "name": "RNA"})
    other_state = ("D", {"why": "a guess", "state": "rejected", "word": "rejected"})
    quiet = ("E", {"why": "a guess", "look": False})
    first, second = review_notes(_overview(*many, other_modality, other_state, quiet))
    assert (first.sentence, list(first.cases), first.further("H&E")) == ("a guess", ["H&E", "RNA"], 3)
    assert first.named("H&E") == [case for case, _ in many[:MOST_NAMED]]
    assert (first.named("RNA"), first.further("RNA")) == (["D"], 0)
    assert (second.cases, second.state) == ({"H&E": ["D"]}, "rejected")


def test_notes_name_the_input_the_draw_and_the_other_case() -> None:
    part = {"status": "unusable", "reason": "empty", "why": "a guess", "same": "the words of B"}
    unusable, draw, same = (note.sentence for note in review_notes(_overview(("A", part))))
    assert (unusable, draw) == ("Input unusable: empty", "a guess")
    assert same.startswith("It has the words of B: one of them")
    (note,) = review_notes(_overview(("A", {"state": "let_in", "reason": "it is synthetic"})))
    assert note.sentence == "it is synthetic"

"""The report of an entry: the table on the screen, and the page as a reader, a parser and a browser see it."""

from __future__ import annotations

import json

import pytest
from conftest import synthetic_burst
from page_fixtures import Browser, Page, check_numbers, chromium, read_page
from scores_fixtures import EMO18, LOGMEL, around, build_scores

from vocalburst.eval.clip_media import ClipMedia, mel_picture, player_sound
from vocalburst.eval.page import embedded_json
from vocalburst.eval.printing import show_measure
from vocalburst.eval.report import Remark, markdown_table, merged, remarks, render_report
from vocalburst.eval.scores import CONTROLS, MEASURES, RatedByPeople, Scores
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.mel import LogMel

EMOTIONS = ("amusement", "awe", "fear", "surprise_positive")
NOTE = "n = 8 is smaller than the dimension 256: the covariance is singular"
EVIL = "<img src=x onerror=window.broken=1></script>&"


def media() -> tuple[ClipMedia, ...]:
    log_mel = LogMel()
    waves = {emotion: synthetic_burst(k, 0.4 + 0.2 * k) for k, emotion in enumerate(EMOTIONS)}
    return tuple(
        ClipMedia(f"{e}/0.wav", e, len(wave) / 24_000, mel_picture(wave, log_mel), player_sound(wave))
        for e, wave in waves.items()
    )


@pytest.fixture(scope="module")
def scores() -> Scores:
    return build_scores("ours", emotions=EMOTIONS, n=8, notes=(NOTE,), suspicious=True)


@pytest.fixture(scope="module")
def html(scores) -> str:
    return render_report(scores, media())


@pytest.fixture(scope="module")
def page(html) -> Page:
    return read_page(html)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def test_scores_survive_the_file(scores, tmp_path):
    scores.save(tmp_path / "scores.json")
    assert Scores.load(tmp_path / "scores.json") == scores


def change(scores: Scores, path: str, value: object) -> dict:
    content = scores.model_dump(mode="json")
    *parts, last = path.split(".")
    place = content
    for part in parts:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("format", "vocalburst-scores-0", "expected the format vocalburst-scores-1, got vocalburst-scores-0"),
        (
            "evaluators.0.sets.0.mean.fid.value",
            float("nan"),
            "not the scores of `vocalburst evaluate` (evaluators.0.sets.0.mean.fid.value: "
            "Input should be a finite number)",
        ),
        (
            "entry.n",
            "many",
            "not the scores of `vocalburst evaluate` (entry.n: Input should be a valid integer, unable to parse "
            "string as an integer)",
        ),
        (
            "evaluators.0.sets.0.name",
            "floor",
            "not the scores of `vocalburst evaluate` (evaluators.0: expected one set named 'entry' and no name "
            "twice, got floor, floor, copy-synthesis, emotion-blind, shuffled, silence, noise)",
        ),
    ],
)
def test_what_is_wrong_in_a_file_of_scores_is_named(scores, tmp_path, path, value, sentence):
    file = tmp_path / "scores.json"
    file.write_text(json.dumps(change(scores, path, value)))
    with pytest.raises(InputDataError) as refused:
        Scores.load(file)
    assert str(refused.value) == f"{file}: {sentence}"


@pytest.mark.parametrize("content", [b"[1, 2]", b"{", b"\xff", b"3"])
def test_what_is_no_file_of_scores_is_refused(tmp_path, content):
    file = tmp_path / "scores.json"
    file.write_bytes(content)
    with pytest.raises(InputDataError, match=r"scores\.json: (cannot be read as scores|expected the format)"):
        Scores.load(file)


def test_the_table_on_the_screen(scores):
    lines = markdown_table(scores).splitlines()
    assert lines[0] == "ours: 32 clips against 4858 real clips of 54 speakers, emogator (dev), seed 0"
    for evaluator in scores.evaluators:
        start = lines.index(f"{evaluator.evaluator}: {evaluator.space}")
        header, rule, *rows = (
            [cell.strip() for cell in line.strip("|").split("|")] for line in lines[start + 2 : start + 4 + 7]
        )
        assert header == [
            "set", "n", "FID ↓", "FID∞ ↓", "KAD ↓", "precision ↑", "coverage ↑", "HEEP ↑",
            "S_GEN emogator-30 ↑", "S_GEN exvo-10 ↑",
        ]  # fmt: skip
        assert set("".join(rule)) == {"-"}
        assert [row[0] for row in rows] == ["entry", *CONTROLS]
        for row, found in zip(rows, evaluator.sets, strict=True):
            assert row[1] == "32 (8 × 4)"
            assert row[2:8] == [
                show_measure(found.mean[k])
                for k in ("fid", "fid_infinity", "kad", "precision", "coverage", "heep")
            ]
            assert row[8:] == [show_measure(score.value) for score in found.s_gen]
    text = "\n".join(lines)
    assert (
        "resampling clips (entry, shuffled, silence, noise); speakers (floor, copy-synthesis, emotion-blind)"
        in text
    )
    assert f"- {NOTE}. ({EMO18}: entry; {LOGMEL}: entry)" in text
    assert "- **Looks memorised: 40 clips are nearer to a train clip" in text


def test_remarks_name_everything_that_limits_the_numbers():
    scores = build_scores(emotions=EMOTIONS, n=8, selected_by=("logmel",), controls=("floor", "noise"))
    first, *rest = remarks(scores)
    assert first == Remark(
        f"The clips were chosen or guided by {LOGMEL}, so its numbers flatter them.", LOGMEL, severe=True
    )
    missing = "Without the controls copy-synthesis, emotion-blind, shuffled, silence."
    assert rest == [Remark(missing, f"{EMO18}; {LOGMEL}")]


def test_unequal_numbers_of_clips_are_said():
    scores = build_scores(emotions=("awe", "fear"), n=8, evaluators=(EMO18,))
    content = scores.model_dump(mode="json")
    content["evaluators"][0]["sets"][0]["emotions"]["awe"]["n"] = 7
    texts = [(remark.text, remark.where) for remark in remarks(Scores.model_validate(content))]
    assert texts == [
        (
            "Not as many clips as reference clips, so distances are not at equal n: awe 7 against 8.",
            f"{EMO18}: entry",
        ),
        (
            "Emotions have different numbers of clips, so their distances are biased differently.",
            f"{EMO18}: entry",
        ),
    ]


def test_equal_sentences_are_said_once_and_severe_ones_first():
    found = merged(
        [Remark("a", "x: s"), Remark("b", "y", severe=True), Remark("a", "z: s"), Remark("a", "x: t")]
    )
    assert found == [Remark("b", "y", severe=True), Remark("a", "x: s, t; z: s")]


def test_every_number_of_the_page_is_the_one_in_the_scores(page, scores):
    assert Scores.model_validate(page.data) == scores
    paths = check_numbers(page)
    expected = set()
    for k, evaluator in enumerate(scores.evaluators):
        expected |= {f"evaluators.{k}.real_heep", f"evaluators.{k}.real_recognised"}
        for j, found in enumerate(evaluator.sets):
            key = f"evaluators.{k}.sets.{j}"
            expected |= {f"{key}.n"} | {f"{key}.mean.{name}" for name in MEASURES}
            expected |= {f"{key}.s_gen.{i}.value" for i in range(len(found.s_gen))}
            expected |= {
                f"{key}.emotions.{e}.measures.{m}" for e in EMOTIONS for m in ("fid_infinity", "heep")
            }
        key = f"evaluators.{k}.sets.0"
        expected |= {f"{key}.emotions.{e}.measures.{m}" for e in EMOTIONS for m in MEASURES}
        expected |= {
            f"{key}.s_gen.0.emotions.{e}.{m}" for e in EMOTIONS for m in ("fid", "fid_infinity", "heep")
        }
        expected |= {f"{key}.memorisation.{m}" for m in ("copied", "chance", "fld", "fld_gap", "c_t")}
        expected |= {
            f"{key}.memorisation.pairs.{i}.{m}" for i in range(3) for m in ("distance", "ratio", "cosine")
        }
    assert expected <= paths


def test_the_page_tells_what_is_needed_to_compute_it_again(page, scores):
    text = " ".join((page.named("header")[0].text + page.named("main")[0].text).split())
    for needed in (
        scores.command, f"seed {scores.seed} version", scores.entry.clips_sha256, scores.reference.clips_sha256,
        scores.package_version, scores.format, scores.entry.checkpoint, "54 speakers",
        *(e.evaluator for e in scores.evaluators), *(e.preprocessing for e in scores.evaluators),
        *(e.space for e in scores.evaluators), *CONTROLS.values(), NOTE, "ours/001.wav", "000001-04-1",
        "suspicious 40 clips are nearer to a train clip",
    ):  # fmt: skip
        assert needed in text, needed


def test_a_name_cannot_become_markup(scores):
    content = change(scores, "entry.name", EVIL)
    content["command"] = EVIL
    page = read_page(render_report(Scores.model_validate(content)))
    assert not page.named("img")
    assert page.named("h1")[0].text == EVIL
    assert page.data["entry"]["name"] == EVIL
    assert json.loads(embedded_json({"a": "</script><!--\u2028"})) == {"a": "</script><!--\u2028"}
    assert "<" not in embedded_json({"a": "</script><!--"})


def test_a_page_without_controls_clips_memorisation_or_a_number(tmp_path):
    scores = build_scores(emotions=("awe",), n=8, evaluators=(EMO18,), controls=())
    content = scores.model_dump(mode="json")
    entry = content["evaluators"][0]["sets"][0]
    content["evaluators"][0] |= {"real_heep": None, "real_recognised": None}
    entry |= {"memorisation": None, "s_gen": []}
    entry["mean"]["fid_infinity"] = entry["emotions"]["awe"]["measures"]["fid_infinity"] = {"value": None}
    del entry["mean"]["kad"], entry["emotions"]["awe"]["measures"]["kad"]
    found = Scores.model_validate(content)
    page = read_page(render_report(found))
    check_numbers(page)
    assert not page.named("audio")
    cells = next(line for line in markdown_table(found).splitlines() if line.startswith("| entry")).split("|")
    assert cells[4].strip() == cells[5].strip() == "–"


def test_ratings_of_people_stand_in_a_section_of_their_own(scores):
    assert "Heard by people" not in render_report(scores)
    ratings = RatedByPeople(
        sha256="ab" * 32, n=12, ratings=60, emotions={"awe": around(0.4, 0.2), "fear": around(0.2, 0.2)},
        heep=around(0.3, 0.1), recognised=around(0.5, 0.1), heep_column=around(0.31, 0.1),
        heep_overall=around(0.32, 0.1),
    )  # fmt: skip
    page = read_page(render_report(scores.model_copy(update={"ratings": ratings})))
    names = {"emotions.awe", "emotions.fear", "heep", "recognised", "heep_column", "heep_overall"}
    assert {f"ratings.{name}" for name in names} <= check_numbers(page)
    assert "60 ratings of 12 clips of the entry, CSV abababababab." in " ".join(
        page.named("main")[0].text.split()
    )


def test_a_report_is_the_same_each_time(scores, html):
    assert render_report(scores, media()) == html


def test_in_a_browser_nothing_is_loaded_and_nothing_fails(browser: Browser, html, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(html, encoding="utf-8")
    for width, dark, kind in ((1280, False, ""), (390, True, ""), (1046, False, "print")):
        browser.emulate(width, dark=dark, media=kind)
        browser.open(file)
        assert browser.log("browser") == []
        assert browser.requests() == [file.as_uri()]
        wide = browser.run("return document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0 or kind == "print"  # tables scroll inside their boxes, the page does not
    browser.emulate(1280)


def test_in_a_browser_players_and_pictures_have_their_clips(browser: Browser, html, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(html, encoding="utf-8")
    browser.open(file)
    found = browser.driver.execute_async_script(
        """
        const done = arguments[arguments.length - 1];
        const ready = (player) => new Promise((resolve) => {
          player.addEventListener("canplaythrough", () => resolve([player.duration, player.error]));
          player.addEventListener("error", () => resolve([null, player.error.message]));
          player.preload = "auto";
          player.load();
        });
        Promise.all([...document.querySelectorAll("audio")].map(ready)).then(done);
        """
    )
    assert [error for _, error in found] == [None] * 4
    assert [seconds for seconds, _ in found] == pytest.approx([0.4, 0.6, 0.8, 1.0], abs=0.06)
    sizes = browser.run("return [...document.images].map((i) => [i.naturalWidth, i.naturalHeight])")
    assert sizes == [[round(s * 24_000) // 256 + 1, 100] for s in (0.4, 0.6, 0.8, 1.0)]


def test_in_a_browser_a_name_is_text_and_the_network_is_forbidden(browser: Browser, scores, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(
        render_report(Scores.model_validate(change(scores, "entry.name", EVIL))), encoding="utf-8"
    )
    browser.open(file)
    assert browser.driver.title.startswith(EVIL)
    assert browser.run("return window.broken") is None
    browser.run(
        "const s = document.createElement('script'); s.text = 'window.broken = 2'; document.body.append(s)"
    )
    browser.run("new Image().src = 'http://127.0.0.1:9/picture.png'")
    assert browser.run("return window.broken") is None
    blocked = [entry["message"] for entry in browser.log("browser")]
    assert any("script-src" in message for message in blocked)
    assert any("img-src" in message for message in blocked)


def test_in_a_browser_the_saved_file_is_the_scores(browser: Browser, html, scores, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(html, encoding="utf-8")
    browser.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior",
        {"behavior": "allow", "downloadPath": str(tmp_path), "eventsEnabled": True},
    )
    browser.open(file)
    browser.run("document.getElementById('save').click()")
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(browser.driver, 10).until(lambda _: (tmp_path / "scores.json").exists())
    assert Scores.load(tmp_path / "scores.json") == scores

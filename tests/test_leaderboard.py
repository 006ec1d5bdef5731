"""The leaderboard from files to files: what is ranked, what is refused word for word, and the page in a browser."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
import soundfile
from conftest import RATE, run_command, synthetic_burst
from page_fixtures import Browser, check_numbers, chromium, read_page
from scores_fixtures import EMO18, LOGMEL, build_scores

from vocalburst.eval import published
from vocalburst.eval.clips import open_clips
from vocalburst.eval.contest import relabelled
from vocalburst.eval.leaderboard import main
from vocalburst.eval.scores import CONTROLS, MEASURES, Scores

EMOTIONS = ("amusement", "awe", "fear", "triumph")
NAMES = ("ours", "theirs", "others")


def with_measure(scores: Scores, name: str, missing: str) -> Scores:
    """The scores without a value for the mean of one measure."""
    content = scores.model_dump(mode="json")
    for evaluator in content["evaluators"]:
        evaluator["sets"][0]["mean"][name] = {"value": None}
        evaluator["sets"][0]["emotions"][missing]["measures"][name] = {"value": None}
    return Scores.model_validate(content)


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    """runs/NAME.json of three entries; `others` has no KAD, and fewer emotions."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    build_scores("ours", skill=0.7, emotions=EMOTIONS, n=8).save("runs/ours.json")
    build_scores("theirs", skill=0.2, emotions=EMOTIONS, n=8, suspicious=True).save("runs/theirs.json")
    others = build_scores("others", skill=0.9, emotions=EMOTIONS[:2], n=8)
    with_measure(others, "kad", "awe").save("runs/others.json")
    return tmp_path


FILES = [f"runs/{name}.json" for name in NAMES]


def leaderboard(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["leaderboard", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "runs")


def test_all_files_tell_the_same(runs, monkeypatch, capsys):
    outputs = ("--out", "b.html", "--csv", "b.csv", "--json", "b.json", "--markdown", "b.md")
    assert leaderboard(monkeypatch, *FILES, *outputs) == 0
    out = capsys.readouterr().out
    assert written(runs) == ["b.csv", "b.html", "b.json", "b.md"]
    data = json.loads(Path("b.json").read_text())
    assert Path("b.md").read_text() == out
    page = read_page(Path("b.html").read_text())
    assert page.data == data

    assert [board["evaluator"] for board in data["boards"]] == [EMO18, LOGMEL]
    rows = list(csv.DictReader(Path("b.csv").read_text().splitlines()))
    entries = [(board["evaluator"], entry) for board in data["boards"] for entry in board["entries"]]
    assert [(r["evaluator"], r["name"]) for r in rows] == [(e, entry["name"]) for e, entry in entries]
    for row, (_, entry) in zip(rows, entries, strict=True):
        scores = Scores.load(f"runs/{entry['name']}.json")
        heard = next(e for e in scores.evaluators if e.evaluator == row["evaluator"]).entry
        assert float(row["s_gen"]) == entry["s_gen"]["value"]["value"] == heard.s_gen[0].value.value
        assert float(row["s_gen_low"]) == heard.s_gen[0].value.low
        assert float(row["s_gen_infinity_high"]) == heard.s_gen[0].infinity.high
        for name in MEASURES:
            value = heard.mean[name].value
            assert row[name] == ("" if value is None else repr(value))
            assert entry["mean"][name]["value"] == value
        assert [int(row["place_best"]), int(row["place_worst"])] == entry["place"]
        assert row["clips_sha256"] == scores.entry.clips_sha256
        assert row["suspected_of_copying"] == str(entry["name"] == "theirs")
        assert (row["n"], row["emotions"]) == (str(heard.n), str(len(heard.emotions)))
    first = data["boards"][0]["entries"]
    values = [entry["s_gen"]["value"]["value"] for entry in first]
    assert values == sorted(values, reverse=True)
    # Half of the emotions are worth about half of S_GEN, however good the clips are.
    assert [entry["name"] for entry in first] == ["ours", "others", "theirs"]


def test_every_number_of_the_page_is_the_one_in_its_data(runs, monkeypatch):
    assert leaderboard(monkeypatch, *FILES, "--out", "b.html") == 0
    page = read_page(Path("b.html").read_text())
    paths = check_numbers(page)
    expected = {f"published.systems.{i}.s_gen" for i in range(3)}
    expected |= {f"published.table_6b.{e}.s_gen" for e in published.TABLE_6B}
    for k, board in enumerate(page.data["boards"]):
        for j, entry in enumerate(board["entries"]):
            key = f"boards.{k}.entries.{j}"
            known = [m for m in MEASURES if entry["mean"][m]["value"] is not None]
            expected |= {f"{key}.{n}" for n in ("n", "place.0", "s_gen.value", "s_gen.infinity")}
            expected |= {f"{key}.mean.{m}" for m in known}
            expected |= {
                f"{key}.emotions.{e}.measures.{m}"
                for e in entry["emotions"]
                for m in ("fid_infinity", "heep")
            }
            expected |= {f"{key}.controls.{i}.mean.fid" for i in range(len(entry["controls"]))}
        expected |= {f"boards.{k}.shared_controls.{i}.mean.{m}" for i in range(3) for m in MEASURES}
    assert expected <= paths
    text = " ".join((page.named("header")[0].text + page.named("main")[0].text).split())
    for sentence in (
        *published.CAVEATS, *(s.space for s in published.SYSTEMS), *(n for s in published.SYSTEMS for n in s.notes),
        *CONTROLS.values(), *(sentence for b in page.data["boards"] for sentence in b["verdicts"]),
        "theirs is suspected of repeating its training clips", "others has clips of 2 of 4 emotions",
        page.data["agreement"], page.data["reference"]["clips_sha256"],
        *(f["command"] for f in page.data["files"]), *(f["sha256"][:12] for f in page.data["files"]),
    ):  # fmt: skip
        assert sentence in text, sentence


def test_published_rows_are_in_no_ranking(runs, monkeypatch, capsys):
    assert leaderboard(monkeypatch, *FILES, "--json", "b.json", "--csv", "b.csv") == 0
    out = capsys.readouterr().out
    ranked, _, context = out.partition("Published, as context and not ranked with the above:")
    names = [system.name for system in published.SYSTEMS]
    assert all(name in context and name not in ranked for name in names)
    data = json.loads(Path("b.json").read_text())
    assert [system["name"] for system in data["published"]["systems"]] == names
    assert not any(name in json.dumps(data["boards"]) for name in names)
    assert not any(name in Path("b.csv").read_text() for name in names)


def spoil(path: str, **changes: object) -> None:
    """Change values at the top of a file of scores."""
    content = json.loads(Path(path).read_text())
    for name, value in changes.items():
        content[name] = value
    Path(path).write_text(json.dumps(content))


def test_what_is_not_comparable_is_named_and_nothing_is_written(runs, monkeypatch, capsys):
    theirs = Scores.load("runs/theirs.json")
    spoil(
        "runs/theirs.json",
        reference={**theirs.reference.model_dump(), "split": "test"},
        package_version="0.0.9",
    )
    spoil("runs/others.json", format="vocalburst-scores-0")
    assert leaderboard(monkeypatch, *FILES, "--out", "b.html", "--csv", "b.csv") == 3
    captured = capsys.readouterr()
    digest = theirs.reference.clips_sha256[:12]
    assert captured.out == ""
    assert captured.err == (
        "error: 2 of 3 files cannot be ranked on the terms of runs/ours.json, nothing was written\n"
        "  runs/theirs.json: scored by version 0.0.9, expected 0.1.0; "
        f"reference emogator (test), 4858 clips {digest}, expected emogator (dev), 4858 clips {digest}\n"
        "  runs/others.json: expected the format vocalburst-scores-1, got vocalburst-scores-0\n"
    )
    assert written(runs) == []


def test_the_rest_is_ranked_only_on_terms_that_were_named(runs, monkeypatch, capsys):
    build_scores("other", emotions=EMOTIONS, n=9).save("runs/nine.json")
    files = ["runs/nine.json", *FILES]
    assert leaderboard(monkeypatch, *files, "--skip-incomparable") == 2
    assert "--skip-incomparable needs --like FILE" in capsys.readouterr().err
    arguments = ("--skip-incomparable", "--like", "runs/ours.json", "--out", "b.html", "--json", "b.json")
    assert leaderboard(monkeypatch, *files, *arguments) == 0
    out = capsys.readouterr().out
    reason = (
        "another n: amusement 9 clips against 9, expected 8 against 8, awe 9 clips against 9, expected 8 against 8, "
        "fear 9 clips against 9, expected 8 against 8 and 1 more emotions"
    )
    data = json.loads(Path("b.json").read_text())
    assert data["not_ranked"] == [{"path": "runs/nine.json", "reasons": [reason]}]
    assert len(data["boards"][0]["entries"]) == 3
    assert f"Not ranked:\n\n- runs/nine.json: {reason}" in out
    page = read_page(Path("b.html").read_text())
    assert f"runs/nine.json: {reason}" in page.named("main")[0].text
    assert "Not ranked, for reasons given at the end of the page: 1." in page.named("header")[0].text


def test_the_order_of_the_files_decides_nothing_but_the_terms(runs, monkeypatch):
    assert leaderboard(monkeypatch, *FILES, "--json", "a.json") == 0
    assert leaderboard(monkeypatch, *FILES[::-1], "--like", FILES[0], "--json", "b.json") == 0
    one, other = (json.loads(Path(f"{name}.json").read_text()) for name in "ab")
    assert one["boards"] == other["boards"] and one["agreement"] == other["agreement"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["runs/none.json"], 3, "runs/none.json: cannot be read as scores"),
        ([*FILES, "--like", "x.json"], 3, "x.json: is not among the files"),
        (
            [*FILES, "--evaluator", "ssl-0"],
            3,
            f"runs/ours.json: not heard by ssl-0, only by {EMO18}, {LOGMEL}",
        ),
        ([*FILES, "--protocol", "sonata-25"], 3, f"runs/ours.json: has no S_GEN of sonata-25 by {EMO18}"),
        ([*FILES, FILES[0]], 2, "each file may be given once"),
        ([*FILES, "--media", "ours=x"], 2, "--media needs --out"),
        ([*FILES, "--out", "b.html", "--media", "x"], 2, "expected NAME=DIR, got 'x'"),
        ([*FILES, "--out", "b.html", "--media", "me=x"], 3, "--media me: no such entry, expected one of "),
        ([*FILES, "--out", "no/b.html"], 1, "no/"),
        (["=runs/ours.json"], 2, "expected FILE or NAME=FILE, got '=runs/ours.json'"),
        ([], 2, "required"),
    ],
)
def test_bad_requests(runs, monkeypatch, capsys, arguments, code, message):
    assert leaderboard(monkeypatch, *arguments) == code
    assert message in capsys.readouterr().err
    assert written(runs) == []


def test_clips_are_ranked_once(runs, monkeypatch, capsys):
    Path("runs/copy.json").write_bytes(Path("runs/ours.json").read_bytes())
    assert leaderboard(monkeypatch, *FILES, "again=runs/copy.json") == 3
    assert "  runs/copy.json: the same clips as runs/ours.json\n" in capsys.readouterr().err


def test_an_entry_can_be_named(runs, monkeypatch, capsys):
    build_scores("ours", emotions=EMOTIONS, n=8, seed=4).save("runs/seed4.json")
    files = [*FILES, "runs/seed4.json"]
    assert leaderboard(monkeypatch, *files) == 3
    assert "called 'ours' like runs/ours.json; write NAME=runs/seed4.json" in capsys.readouterr().err
    assert leaderboard(monkeypatch, *FILES, "seed 4=runs/seed4.json") == 0
    assert "| seed 4 " in capsys.readouterr().out


def test_an_entry_chosen_by_a_scoring_evaluator_is_refused_unless_only_the_other_scores(
    runs, monkeypatch, capsys
):
    build_scores("picked", emotions=EMOTIONS, n=8, selected_by=(LOGMEL,)).save("runs/picked.json")
    files = [*FILES, "runs/picked.json"]
    assert leaderboard(monkeypatch, *files) == 3
    assert (
        f"  runs/picked.json: its clips were chosen or guided by {LOGMEL}, which scores here\n"
        in capsys.readouterr().err
    )
    assert leaderboard(monkeypatch, *files, "--evaluator", EMO18) == 0
    assert LOGMEL not in capsys.readouterr().out


def test_another_protocol_can_rank(runs, monkeypatch):
    assert leaderboard(monkeypatch, *FILES, "--protocol", "exvo-10", "--json", "b.json") == 0
    data = json.loads(Path("b.json").read_text())
    for entry in data["boards"][0]["entries"]:
        heard = Scores.load(f"runs/{entry['name']}.json").evaluators[0].entry
        assert entry["s_gen"] == heard.s_gen_of("exvo-10").model_dump(mode="json")


def test_the_command_runs_as_a_module(runs):
    done = run_command("vocalburst.eval.leaderboard", *FILES, "--out", "b.html")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Heard by {EMO18}, ranked by S_GEN of emogator-30.")
    read_page(Path("b.html").read_text())


def folder_of(entry: str, scores: str) -> None:
    """EMOTION/*.wav of an entry, whose file of scores then names these very clips."""
    for k, emotion in enumerate(EMOTIONS):
        Path(entry, emotion).mkdir(parents=True)
        for j in range(2):
            wave = synthetic_burst(10 * k + j + len(entry), 0.3 + 0.05 * k)
            soundfile.write(Path(entry, emotion, f"{j}.wav"), wave, RATE)
    content = json.loads(Path(scores).read_text())
    content["entry"]["clips_sha256"] = open_clips(entry).content_sha256
    Path(scores).write_text(json.dumps(content))


def test_clips_that_were_scored_are_shown_and_no_others(runs, monkeypatch, capsys):
    folder_of("clips", "runs/ours.json")
    folder_of("wrong clips", "runs/theirs.json")
    media = ("--media", "ours=clips", "--media", "theirs=wrong clips")
    assert leaderboard(monkeypatch, *FILES, "--out", "b.html", *media) == 0
    page = read_page(Path("b.html").read_text())
    assert len(page.named("audio")) == 2 * len(EMOTIONS)
    assert leaderboard(monkeypatch, *FILES, "--out", "b.html", *media, "--emotions", "Awe", "fear") == 0
    page = read_page(Path("b.html").read_text())
    assert [e.attributes["aria-label"].split(",")[0] for e in page.named("audio")] == ["awe", "fear"] * 2

    Path("b.html").unlink()
    capsys.readouterr()
    assert leaderboard(monkeypatch, *FILES, "--out", "b.html", "--media", "ours=wrong clips") == 3
    found, expected = (open_clips(name).content_sha256[:12] for name in ("wrong clips", "clips"))
    assert capsys.readouterr().err == (
        f"error: wrong clips: not the clips that ours was scored on (clips {found}, expected {expected})\n"
    )
    assert not Path("b.html").exists()


def test_clips_are_shown_under_the_emotions_of_the_protocol_they_were_scored_by(runs, monkeypatch):
    for emotion in ("elation", "awe", "guilt"):
        Path("clips", emotion).mkdir(parents=True)
        soundfile.write(Path("clips", emotion, "0.wav"), synthetic_burst(len(emotion)), RATE)
    answering, _ = relabelled(open_clips("clips"), "exvo-10")
    content = build_scores("ours", emotions=("awe", "excitement"), n=8).model_dump(mode="json")
    content["entry"]["clips_sha256"] = answering.content_sha256
    Path("runs/exvo.json").write_text(json.dumps(content))
    arguments = ("--protocol", "exvo-10", "--out", "b.html", "--media", "ours=clips")
    assert leaderboard(monkeypatch, "runs/exvo.json", *arguments) == 0
    players = read_page(Path("b.html").read_text()).named("audio")
    assert sorted(p.attributes["aria-label"].split(",")[0] for p in players) == ["awe", "excitement"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


COLUMN = """
const table = document.querySelector("table.ranking");
const headings = [...table.tHead.rows[0].cells];
const index = headings.findIndex((h) => h.textContent.trim().startsWith(arguments[0]));
return [headings[index].getAttribute("aria-sort"), [...table.tBodies[0].rows].map((r) => {
  const cell = r.cells[index];
  return [r.cells[0].textContent.trim().split("\\n")[0], cell.dataset.value ? Number(cell.dataset.value) : null];
})];
"""
BUTTON = """
const headings = [...document.querySelectorAll("table.ranking thead th")];
return headings.find((h) => h.textContent.trim().startsWith(arguments[0])).querySelector("button");
"""


def test_in_a_browser_clicks_and_keys_sort_the_rows(browser: Browser, runs, monkeypatch):
    assert leaderboard(monkeypatch, *FILES, "--out", "b.html") == 0
    browser.emulate(1280)
    browser.open(runs / "b.html")

    def column(heading: str) -> tuple[str | None, list]:
        return browser.run(COLUMN, heading)

    def click(heading: str) -> None:
        browser.run(BUTTON, heading).click()  # with the mouse, at its place on the screen

    at_first, rows = column("S_GEN ↑")
    assert at_first is None
    ranked = [value for _, value in rows[:3]]
    assert ranked == sorted(ranked, reverse=True) and len(rows) == 6  # entries by rank, then controls

    for heading, better_first in (("FID ↓", "ascending"), ("HEEP ↑", "descending")):
        click(heading)
        direction, rows = column(heading)
        values = [value for _, value in rows]
        assert direction == better_first
        assert values == sorted(values, reverse=better_first == "descending")
        assert rows[0][0] in ("floor", "copy-synthesis")  # real clips are better than any entry
        click(heading)
        direction, turned = column(heading)
        assert direction != better_first and turned == rows[::-1]
    assert column("FID ↓")[0] is None  # only one column is marked

    # What has no number is last in both directions.
    for _ in range(2):
        click("KAD ↓")
        _, rows = column("KAD ↓")
        assert rows[-1][1] is None and "others" in rows[-1][0]
        assert None not in [value for _, value in rows[:-1]]

    click("entry")
    names = [name for name, _ in column("S_GEN ↑")[1]]
    assert names == sorted(names, key=str.casefold)

    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    button = browser.driver.find_element(By.CSS_SELECTOR, "table.ranking thead th:nth-child(2) button")
    button.send_keys(Keys.ENTER)
    direction, rows = column("place")
    assert direction == "ascending"
    places = [value for _, value in rows if value is not None]
    assert places == sorted(places) and [value for _, value in rows[3:]] == [None] * 3
    button.send_keys(Keys.SPACE)
    assert column("place")[0] == "descending"
    assert (
        browser.run("return document.getElementById('status').textContent") == "sorted by place, descending"
    )
    assert browser.log("browser") == []


def test_in_a_browser_nothing_is_loaded_and_players_have_their_clips(browser: Browser, runs, monkeypatch):
    folder_of("clips", "runs/ours.json")
    assert leaderboard(monkeypatch, *FILES, "--out", "b.html", "--media", "ours=clips") == 0
    from selenium.webdriver.support.wait import WebDriverWait

    ready = "return [...document.querySelectorAll('audio')].every((a) => a.readyState >= 1 || a.error)"
    for width, dark in ((1280, False), (390, True)):
        browser.emulate(width, dark=dark)
        browser.open(runs / "b.html")
        WebDriverWait(browser.driver, 10).until(lambda _: browser.run(ready))
        found = browser.run("return [...document.querySelectorAll('audio')].map((a) => a.duration)")
        assert found == pytest.approx([0.3, 0.35, 0.4, 0.45], abs=0.06)
        assert browser.run("return [...document.images].every((i) => i.naturalHeight === 100)")
        assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
        assert browser.log("browser") == []
        assert browser.requests() == [(runs / "b.html").as_uri()]

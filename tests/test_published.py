"""The published rows: as their paper prints them, consistent with the formula, and with the official statistics."""

import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import SHARED

from vocalburst.eval.exvo2022_statistics import read_official_folder
from vocalburst.eval.frechet import frechet_distance
from vocalburst.eval.published import CAVEATS, EMOTION_BLIND, SYSTEMS, TABLE_6B, TABLE_8
from vocalburst.eval.s_gen import PROTOCOLS, s_gen

EXVO = PROTOCOLS["exvo-10"]
PAPERS = SHARED / "papers"
STATISTICS = SHARED / "data" / "exvo2022_fid"


@pytest.fixture(scope="module")
def paper() -> str:
    for path in sorted(PAPERS.glob("*.txt")) if PAPERS.is_dir() else ():
        text = path.read_text(encoding="utf-8")
        if "Table 6: Results for the 2022 ICML ExVo Workshop" in text:
            return text
    pytest.skip(f"no text of arXiv 2403.14048 in {PAPERS}")


def cells(paper: str, start: str) -> list[str]:
    (line,) = [line for line in paper.splitlines() if line.startswith(f"{start}\t")]
    return [cell.strip() for cell in line.split("\t")[1:] if cell.strip()]


def test_table_6b_is_the_printed_one(paper):
    (header,) = re.findall(r"^\t(Amu\.\tAwe\t.*Tri\.)$", paper, re.MULTILINE)
    names = [next(e for e in EXVO if e.startswith(name.strip(".").lower())) for name in header.split("\t")]
    assert names == list(TABLE_6B)
    for key, heading in (("fid", "FID"), ("heep", "HEEP"), ("s_gen", "$S_{GEN}$")):
        printed = [None if cell == "–" else float(cell) for cell in cells(paper, heading)]
        assert printed == [getattr(row, key) for row in TABLE_6B.values()], key


def test_table_8_is_the_printed_one(paper):
    printed = re.search(
        r"^Organisers.*\$S_\{GEN\}\$\t(\S+)\nResemble .*\t(\S+)\nStyleMelMila .*\t<b>(\S+)</b>$",
        paper,
        re.MULTILINE,
    )
    assert [float(value) for value in printed.groups()] == list(TABLE_8.values())


def test_table_6b_follows_from_the_formula_and_gives_the_organisers_row():
    rows = {emotion: row for emotion, row in TABLE_6B.items() if row.fid is not None}
    result = s_gen({e: row.fid for e, row in rows.items()}, {e: row.heep for e, row in rows.items()}, EXVO)
    assert set(TABLE_6B) == set(EXVO) and result.missing == ("triumph",)
    for emotion, row in rows.items():
        assert result.emotions[emotion].s_gen == pytest.approx(row.s_gen, abs=0.007)
    organisers = SYSTEMS[0]
    assert result.value == pytest.approx(organisers.s_gen, abs=0.001)
    assert f"{result.value:.4f}" in organisers.notes[0]


def test_systems_are_the_rows_of_table_8_but_for_the_value_that_is_stale():
    assert {system.name: system.s_gen for system in SYSTEMS} == {**TABLE_8, "Organisers": 0.174}
    assert f"{TABLE_8['Organisers']:.3f}" in SYSTEMS[0].notes[1]
    for system in SYSTEMS:
        assert re.fullmatch(r".+, arXiv \d{4}\.\d{5} \(.+\)", system.source.text)
        assert system.n and system.space and system.emotions


@pytest.mark.parametrize("space", EMOTION_BLIND)
def test_score_of_real_clips_that_ignore_the_emotion(space):
    if not STATISTICS.is_dir():
        pytest.skip(f"the official statistics are not in {STATISTICS}")
    official = read_official_folder(STATISTICS, space)
    nine = {emotion: s for emotion, s in official.items() if emotion != "triumph"}
    means = np.array([s.mean for s in nine.values()])
    # Law of total covariance, equal weights.
    pooled = replace(
        next(iter(nine.values())),
        mean=means.mean(axis=0),
        cov=np.mean([s.cov for s in nine.values()], axis=0) + np.cov(means, rowvar=False, ddof=0),
    )
    fid = {emotion: frechet_distance(pooled, s) for emotion, s in nine.items()}
    value = s_gen(fid, dict.fromkeys(nine, 0.0), EXVO).value
    assert value == pytest.approx(EMOTION_BLIND[space], abs=0.0005)
    assert any(f"{EMOTION_BLIND[space]:.3f}" in caveat for caveat in CAVEATS)

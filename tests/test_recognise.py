"""Recognition rates: the arithmetic, and the command from a folder of clips to the table."""

import hashlib
import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from recogniser_fixtures import EMOTIONS, small_logmel, tone

from vocalburst.eval import rates
from vocalburst.eval.recognise import main
from vocalburst.gen.data.audio import encode_wave, read_wave
from vocalburst.gen.data.manifest import Clip, write_manifest


def test_confusion_and_recalls_of_a_case_done_by_hand():
    asked = np.array([0, 0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 0, 1, 1, 2, 2])
    counts = rates.confusion(asked, predicted, 4)
    assert counts.tolist() == [[3, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert rates.recalls(counts)[:3].tolist() == [0.75, 0.5, 1.0]
    assert np.isnan(rates.recalls(counts)[3])
    assert rates.unweighted_average_recall(counts) == pytest.approx(0.75)
    hits = (asked == predicted).astype(float)
    assert rates.emotion_means(hits, asked, 4)[:3].tolist() == [0.75, 0.5, 1.0]


@pytest.mark.parametrize(
    ("asked", "predicted", "match"),
    [
        ([], [], "at least one"),
        ([0, 3], [0, 0], "0 to 2"),
        ([0, -1], [0, 0], "0 to 2"),
        ([0, 1], [0], "as many"),
    ],
)
def test_confusion_refuses_what_it_cannot_count(asked, predicted, match):
    with pytest.raises(ValueError, match=match):
        rates.confusion(np.array(asked, dtype=int), np.array(predicted, dtype=int), 3)


def test_interval_over_clips_has_the_binomial_width():
    asked = np.repeat([0, 1, 2, 3], 100)
    values = np.tile([0.0, 1.0], 200)
    low, high = rates.interval_over_clips(values, asked)
    half = 1.96 * np.sqrt(0.25 / 100 / 4)  # the mean of four rates of 100 fair coins each
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.01)


def test_interval_over_clips_keeps_emotions_of_different_size_equal():
    asked = np.array([0] * 1000 + [1] * 2)
    values = np.array([0.0] * 1000 + [1.0] * 2)
    assert rates.interval_over_clips(values, asked) == (0.5, 0.5)


def test_interval_over_groups_is_that_of_the_groups_not_of_the_clips():
    groups = [str(s) for s in range(40) for _ in range(50)]
    values = np.repeat(np.tile([0.0, 1.0], 20), 50)  # a speaker is always or never recognised
    asked = np.tile(np.arange(2), 1000)
    low, high = rates.interval_over_groups(values, asked, groups)
    half = 1.96 * np.sqrt(0.25 / 40)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.03)
    narrow = rates.interval_over_clips(values, asked)
    assert narrow[1] - narrow[0] < (high - low) / 4


def test_interval_over_groups_against_a_loop():
    generator = np.random.default_rng(3)
    asked, groups = generator.integers(0, 3, 60), [str(g) for g in generator.integers(0, 7, 60)]
    values = generator.random(60)
    names = np.unique(groups)
    draws = np.random.default_rng(5).multinomial(len(names), np.full(len(names), 1 / len(names)), size=50)
    means = []
    for draw in draws:
        chosen = [i for name, times in zip(names, draw, strict=True) for _ in range(times) for i in range(60)
                  if groups[i] == name]  # fmt: skip
        means.append(np.mean([values[[i for i in chosen if asked[i] == e]].mean() for e in range(3)]))
    expected = np.percentile(means, rates.LEVELS)
    assert rates.interval_over_groups(values, asked, groups, seed=5, resamples=50) == pytest.approx(expected)


def test_shuffled_labels_score_what_is_predicted_by_share():
    generator = np.random.default_rng(0)
    asked = np.repeat(np.arange(4), 50)
    predicted = generator.choice(4, size=200, p=[0.7, 0.2, 0.1, 0.0])
    shuffled, (low, high) = rates.shuffled_rates(asked, np.eye(4)[predicted], permutations=400)
    share = np.bincount(predicted, minlength=4) / 200
    np.testing.assert_allclose(shuffled, share, atol=0.015)
    assert low < 0.25 < high


def test_draw_equal_is_seeded_exact_and_independent_between_emotions():
    asked = np.array([0] * 10 + [1] * 3 + [2] * 10)
    drawn = rates.draw_equal(asked, np.array([4, 5, 0]), seed=1)
    assert np.bincount(asked[drawn], minlength=3).tolist() == [4, 3, 0]
    more = rates.draw_equal(asked, np.array([4, 3, 10]), seed=1)
    assert set(drawn) <= set(more)
    assert not np.array_equal(drawn, rates.draw_equal(asked, np.array([4, 5, 0]), seed=2))


@pytest.fixture
def world(tmp_path):
    """A recogniser with random weights, a folder of generated clips and real clips with a manifest."""
    small_logmel().save(tmp_path / "model", "", {})
    clips = tmp_path / "clips"
    rows = []
    for i in range(11):
        emotion = EMOTIONS[i % 3]
        data = encode_wave(tone(150 + 90 * i, 0.2 + 0.05 * i, i))
        (clips / emotion).mkdir(parents=True, exist_ok=True)
        (clips / emotion / f"{i}.wav").write_bytes(data)
        rows.append({
            "file_name": f"{emotion}/{i}.wav", "emotion": emotion, "emotion_vector": {emotion: 1.0},
            "sha256": hashlib.sha256(data).hexdigest(), "seed": i, "synthetic": True,
        })  # fmt: skip
    write_rows(clips, rows)
    records = []
    (tmp_path / "real").mkdir()
    for i in range(18):
        (tmp_path / "real" / f"{i}.wav").write_bytes(encode_wave(tone(100 + 50 * i, 0.4, 50 + i)))
        records.append(
            Clip(
                id=str(i), path=f"{i}.wav", corpus="tones", split="train" if i >= 12 else "dev",
                speaker=str(i % 2), labelled=EMOTIONS, emotions={EMOTIONS[i % 3]: 1.0}, seconds=0.4,
                active_seconds=0.4, level_db=-13, peak_db=-10,
            )
        )  # fmt: skip
    write_manifest(tmp_path / "real" / "manifest.jsonl", records)
    return tmp_path


def write_rows(folder, rows):
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def read_json_rows(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def call(monkeypatch, world, *arguments):
    """Exit code of `vocalburst recognise WORLD/clips --recogniser WORLD/model ARGUMENTS`."""
    words = ["recognise", world / "clips", "--recogniser", world / "model", *arguments]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    with pytest.raises(SystemExit) as done:
        main()
    return done.value.code


def test_command_agrees_with_clip_by_clip_counting(world, monkeypatch, capsys):
    shutil.copytree(world / "clips", world / "copies")
    arguments = ["--reference", world / "real" / "manifest.jsonl", "--beside", f"copy={world / 'copies'}"]
    assert call(monkeypatch, world, *arguments, "--json", world / "out.json") == 0
    report = json.loads((world / "out.json").read_text())
    weights = hashlib.sha256((world / "model" / "model.safetensors").read_bytes()).hexdigest()
    assert report["recogniser"] == f"logmel-{weights[:12]}"
    sets = report["sets"]
    assert list(sets) == ["generated", "real dev", "shuffled labels", "copy"]

    model = small_logmel()
    model = model.load_tensors(model.stored_tensors())
    hit_rates, probabilities = [], []
    for e, emotion in enumerate(EMOTIONS):
        waves = [read_wave(world / "clips" / row["file_name"]) for row in read_json_rows(world / "clips")
                 if row["emotion"] == emotion]  # fmt: skip
        heard = np.concatenate([model.probabilities([wave]) for wave in waves])
        hit_rates.append(np.mean(heard.argmax(axis=1) == e))
        probabilities.append(heard[:, e].mean())
        assert sets["generated"]["emotions"][emotion]["n"] == len(waves)
        assert sets["generated"]["emotions"][emotion]["rate"] == pytest.approx(hit_rates[-1])
        assert sets["generated"]["emotions"][emotion]["probability"] == pytest.approx(
            probabilities[-1], abs=1e-5
        )
    assert sets["generated"]["rate"] == pytest.approx(np.mean(hit_rates))
    assert sets["generated"]["probability"] == pytest.approx(np.mean(probabilities), abs=1e-5)
    assert sets["copy"]["rate"] == sets["generated"]["rate"]
    assert sets["generated"]["resampled"] == "clips" and sets["real dev"]["resampled"] == "speakers"
    # 4, 4 and 3 were generated; dev has 4 of each.
    assert [row["n"] for row in sets["real dev"]["emotions"].values()] == [4, 4, 3]
    assert np.sum(sets["generated"]["confusion"]) == 11
    table = capsys.readouterr().out
    assert "| emotion | generated | real dev | shuffled labels | copy |" in table
    assert table.count("\n| ") + 1 == 1 + 3 + 1


def test_the_order_of_rows_and_a_second_run_change_nothing(world, monkeypatch, capsys):
    arguments = ["--reference", world / "real" / "manifest.jsonl", "--json", world / "out.json"]
    assert call(monkeypatch, world, *arguments) == 0
    first = json.loads((world / "out.json").read_text())["sets"]["generated"]
    write_rows(world / "clips", read_json_rows(world / "clips")[::-1])
    assert call(monkeypatch, world, *arguments) == 0
    second = json.loads((world / "out.json").read_text())["sets"]["generated"]
    assert second["confusion"] == first["confusion"]
    assert second["rate"] == pytest.approx(first["rate"])
    assert second["probability"] == pytest.approx(first["probability"], abs=1e-6)


def missing_file(clips, rows):
    (clips / rows[3]["file_name"]).unlink()


def altered_file(clips, rows):
    path = clips / rows[3]["file_name"]
    path.write_bytes(path.read_bytes()[:-2] + b"\x01\x02")


def unreadable_file(clips, rows):
    (clips / rows[3]["file_name"]).write_bytes(b"not audio")
    rows[3]["sha256"] = hashlib.sha256(b"not audio").hexdigest()


def silent_file(clips, rows):
    data = encode_wave(np.zeros(9000, np.float32))
    (clips / rows[3]["file_name"]).write_bytes(data)
    rows[3]["sha256"] = hashlib.sha256(data).hexdigest()


def unknown_emotion(clips, rows):
    rows[3]["emotion"] = "hype"


def misspelt_emotion(clips, rows):
    rows[3]["emotion"] = "angr"


def mixed_emotion(clips, rows):
    rows[3]["emotion"] = "awe+fear"


def leaving_the_folder(clips, rows):
    rows[3]["file_name"] = "../real/1.wav"


def listed_twice(clips, rows):
    rows[3] = dict(rows[2])


def without_checksum(clips, rows):
    del rows[3]["sha256"]


def no_rows(clips, rows):
    rows.clear()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (missing_file, "cannot be read"),
        (altered_file, "sha256"),
        (unreadable_file, "cannot be read as audio"),
        (silent_file, "digital silence"),
        (unknown_emotion, "clips, anger/3.wav: the recogniser does not know 'hype'; nearest: "),
        (misspelt_emotion, "line 4: unknown emotion 'angr'; nearest: anger"),
        (mixed_emotion, "line 4: expected one emotion, got the mix 'awe+fear'"),
        (leaving_the_folder, "leaves the folder"),
        (listed_twice, "is listed 2 times"),
        (without_checksum, "line 4: sha256"),
        (no_rows, "holds no clips"),
    ],
)
def test_a_bad_clip_is_an_error_and_never_a_smaller_average(world, monkeypatch, capsys, damage, sentence):
    rows = read_json_rows(world / "clips")
    damage(world / "clips", rows)
    write_rows(world / "clips", rows)
    assert call(monkeypatch, world, "--json", world / "out.json") == 3
    printed = capsys.readouterr()
    assert sentence in printed.err and printed.err.strip().count("\n") == 0
    assert printed.out == "" and not (world / "out.json").exists()


def test_a_reference_without_an_emotion_is_refused(world, monkeypatch, capsys):
    arguments = ["--reference", world / "real" / "manifest.jsonl", "--split", "test"]
    assert call(monkeypatch, world, *arguments) == 3
    assert "expected clips of the split 'test', found dev (12), train (6)" in capsys.readouterr().err
    shutil.copytree(world / "clips", world / "fewer")
    rows = [row for row in read_json_rows(world / "fewer") if row["emotion"] != "awe"]
    write_rows(world / "fewer", rows)
    assert call(monkeypatch, world, "--beside", f"fewer={world / 'fewer'}") == 3
    assert "has no clip of awe" in capsys.readouterr().err


def test_any_form_of_set_can_be_judged_or_stand_beside(world, monkeypatch, capsys):
    """A folder without a list, a split named in the set, another split; an emotion that nobody asked for."""
    for row in read_json_rows(world / "clips"):
        path = world / "tree" / row["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(world / "clips" / row["file_name"], path)
    (world / "tree" / "hype").mkdir()
    shutil.copy(world / "clips" / "awe" / "1.wav", world / "tree" / "hype" / "1.wav")
    (world / "clips" / "extra.wav").write_bytes(b"")
    arguments = ["--beside", f"tree={world / 'tree'}", "--json", world / "out.json", "--seed", "4"]
    assert call(monkeypatch, world, *arguments, "--reference", f"{world / 'real'}:train") == 0
    assert "note: " in (told := capsys.readouterr().err) and "the first is extra.wav" in told
    sets = json.loads((world / "out.json").read_text())["sets"]
    assert list(sets) == ["generated", "real train", "shuffled labels", "tree"]
    assert sets["tree"]["rate"] == sets["generated"]["rate"] and sets["tree"]["n"] == 11
    assert sets["real train"]["n"] == 6
    assert call(monkeypatch, world, "--reference", f"{world / 'real'}:train", "--split", "dev") == 3
    assert "names the split 'train', but 'dev' was asked for as well" in capsys.readouterr().err


def test_a_network_without_outputs_recognises_nothing(world, monkeypatch, capsys):
    from vocalburst.eval import evaluators

    embedder = SimpleNamespace(id="hubert-0123456789ab", emotions=None)
    monkeypatch.setattr(evaluators, "load_evaluator", lambda spec: embedder)
    assert call(monkeypatch, world) == 4
    assert "hubert-0123456789ab only embeds, expected a recogniser" in capsys.readouterr().err


def test_model_and_usage_errors_have_their_exit_codes(world, monkeypatch, capsys):
    assert call(monkeypatch, world, "--recogniser", world / "nowhere") == 4
    assert call(monkeypatch, world, "--beside", "nothing") == 2
    assert call(monkeypatch, world, "--beside", f"a={world}", "--beside", f"a={world}") == 2
    capsys.readouterr()

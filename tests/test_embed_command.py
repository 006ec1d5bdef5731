"""Embedding by two processes, by networks, and by the command."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clips_fixtures import write_entry, write_real, write_tree
from embed_fixtures import Bands, Network, same
from recogniser_fixtures import SMALL

from vocalburst.eval.clips import open_clips
from vocalburst.eval.embed import EmbeddedClips, embed, embed_each, main
from vocalburst.eval.evaluators import load_evaluators
from vocalburst.gen.data.audio import encode_wave

PROCESS = """
import sys
from pathlib import Path

sys.path.insert(0, {tests!r})
from embed_fixtures import Bands, Network
from vocalburst.eval.clips import open_clips
from vocalburst.eval.embed import embed_each
from vocalburst.eval.listening_session import join_processes
from vocalburst.gen.cli import run

folder = Path(sys.argv[1])
processes = join_processes()
assert processes.num_processes == 2


def command(name):
    clips, evaluators = open_clips(folder / name), [Network("emo18"), Network("logmel"), Bands()]
    sets = embed_each(clips, evaluators, cache=folder / "cache", accelerator=processes)
    for number, embedded in enumerate(sets):
        embedded.save(folder / f"{{name}}-{{processes.process_index}}-{{number}}")


codes = [run(lambda: command(name)) for name in ("good", "bad")]
(folder / f"codes-{{processes.process_index}}").write_text(str(codes))
processes.destroy_process_group()
"""


def test_two_processes_give_the_numbers_of_one_and_end_together(tmp_path):
    """The silent clip of the second set is in the second process's share; the first must not wait for it."""
    clips = open_clips(write_entry(tmp_path / "good", 7))
    write_tree(tmp_path / "bad", 4)
    (tmp_path / "bad" / "awe" / "3.wav").write_bytes(encode_wave(np.zeros(4800, np.float32)))
    alone = embed_each(clips, [Network("emo18"), Network("logmel"), Bands()], cache=None)
    (tmp_path / "process.py").write_text(PROCESS.format(tests=str(Path(__file__).parent)))
    port = str(20_000 + os.getpid() % 20_000)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", port]
    done = subprocess.run(
        [*launch, str(tmp_path / "process.py"), str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in (0, 1):
        assert (tmp_path / f"codes-{rank}").read_text() == "[0, 3]"
        for number, expected in enumerate(alone):
            got = EmbeddedClips.load(tmp_path / f"good-{rank}-{number}")
            assert got.clips.names == clips.names
            np.testing.assert_allclose(got.embeddings, expected.embeddings, rtol=0, atol=1e-9)
            np.testing.assert_allclose(got.probabilities, expected.probabilities, rtol=0, atol=1e-9)
    assert done.stderr.count(f"error: {tmp_path / 'bad' / 'awe' / '3.wav'}: is digital silence") == 2
    assert not list(tmp_path.glob("bad-*"))
    later = [Network("emo18"), Network("logmel"), Bands()]
    for got, expected in zip(embed_each(clips, later, cache=tmp_path / "cache"), alone, strict=True):
        same(got, expected)
    assert [evaluator.heard for evaluator in later] == [0, 0, 0]


@pytest.mark.parametrize("family", SMALL)
def test_cached_and_fresh_numbers_of_a_network_are_the_same_bits(tmp_path, family):
    """Padding and batches of other clips leave traces of 1e-7 in a float32 network; a clip alone has none."""
    clips = open_clips(write_tree(tmp_path / "clips", 9))
    whole = embed(clips, Network(family), cache=None)
    embed(clips.take([1, 5, 7]), Network(family), cache=tmp_path / "cache")
    same(embed(clips, Network(family), cache=tmp_path / "cache"), whole)
    order = [8, 3, 5, 0]
    same(embed(clips.take(order), Network(family), cache=None), whole.take(order))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of two small recognisers, as `train_recogniser` leaves them."""
    folder = tmp_path_factory.mktemp("models")
    for family, make in SMALL.items():
        make().save(folder / family, "", {})
    return folder


def call(monkeypatch, *arguments):
    """Exit code of `vocalburst embed ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["embed", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_the_command_writes_a_file_for_each_evaluator(models, tmp_path, monkeypatch, capsys):
    clips = open_clips(write_real(tmp_path / "real"), "dev")
    evaluators = load_evaluators([models / "emo18", models / "logmel"])
    expected = embed_each(clips, evaluators, cache=None)
    out, cache = tmp_path / "out.safetensors", tmp_path / "cache"
    both = ["--evaluator", models / "emo18", "--evaluator", models / "logmel", "--cache", cache]
    assert call(monkeypatch, f"{tmp_path / 'real'}:dev", *both, "--out", out) == 0
    paths = [tmp_path / f"out-{evaluator.id}.safetensors" for evaluator in evaluators]
    assert capsys.readouterr().out.split() == [str(path) for path in paths] and not out.exists()
    for path, whole in zip(paths, expected, strict=True):
        back = EmbeddedClips.load(path)
        same(back, whole)
        assert (back.evaluator, back.emotions) == (whole.evaluator, whole.emotions)
    assert len(list(cache.glob("*/*.safetensors"))) == 2
    # One evaluator: the name that was given, and nothing has to be heard again.
    (tmp_path / "real" / "extra.wav").write_bytes(b"")
    one = ["--split", "dev", "--evaluator", models / "emo18", "--cache", cache, "--out", out]
    assert call(monkeypatch, tmp_path / "real", *one) == 0
    same(EmbeddedClips.load(out), expected[0])


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (
            ["{clips}", "--out", "{tmp}/nowhere/out"],
            3,
            "{tmp}/nowhere/out: the folder {tmp}/nowhere does not exist",
        ),
        (
            ["{clips}:dev", "--out", "{tmp}/out"],
            3,
            "expected clips of the split 'dev', found clips without a split",
        ),
        (["{tmp}/none", "--out", "{tmp}/out"], 3, "{tmp}/none: no such folder or manifest"),
        (["{clips}", "--evaluator", "nobody", "--out", "{tmp}/out"], 4, "nobody: is no evaluator"),
        (["{clips}"], 2, "--out"),
        (["{silent}", "--out", "{tmp}/out", "--cache", "{tmp}/cache"], 3, "0.wav: is digital silence"),
    ],
)
def test_what_the_command_refuses(models, tmp_path, monkeypatch, capsys, arguments, code, sentence):
    names = {"tmp": tmp_path, "clips": write_tree(tmp_path / "clips"), "silent": tmp_path / "silent"}
    (tmp_path / "silent" / "awe").mkdir(parents=True)
    (tmp_path / "silent" / "awe" / "0.wav").write_bytes(encode_wave(np.zeros(4800, np.float32)))
    words = [word.format(**names) for word in arguments]
    if "--evaluator" not in words:
        words += ["--evaluator", str(models / "logmel")]
    assert call(monkeypatch, *words) == code
    printed = capsys.readouterr()
    assert sentence.format(**names) in printed.err and printed.out == ""
    assert not list(tmp_path.glob("out*")) and not list(tmp_path.glob("cache/*"))

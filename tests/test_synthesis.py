"""What `generate` loads: the bytes of the pipeline, without the modules that only a diffusers pipeline needs."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from vocalburst.gen import load_generator
from vocalburst.gen.burst import BurstSpec
from vocalburst.gen.data.errors import MissingModelError
from vocalburst.gen.models.prior import Attributes
from vocalburst.gen.synthesis import MARGIN, ROWS, Synthesiser, load_synthesiser

SPEC = BurstSpec({"awe": 1.0}, 3, steps=3, guidance=1.5, scheduler="euler")


@pytest.fixture(scope="module")
def synthesiser(tiny_checkpoint) -> Synthesiser:
    return load_synthesiser(tiny_checkpoint)


def test_the_same_bytes_and_facts_as_the_pipeline(synthesiser, tiny_checkpoint):
    pipeline = load_generator(tiny_checkpoint)
    specs = [replace(SPEC, seed=seed, duration=duration) for seed, duration in ((1, None), (2, 0.5))]
    for own, other in zip(synthesiser.synthesise(specs), pipeline.synthesise(specs), strict=True):
        assert own.wave.tobytes() == other.wave.tobytes()
        assert own.mel.tobytes() == other.mel.tobytes()
    for name in ("content_hash", "defaults", "emotions", "n_voices", "durations", "license", "mel_config"):
        assert getattr(synthesiser, name) == getattr(pipeline, name)
    assert synthesiser.device == pipeline.device == torch.device("cpu")


def test_it_loads_no_diffusers_pipeline():
    code = (
        "import sys, vocalburst.gen.synthesis, vocalburst.gen.workers\n"
        "print([name for name in sys.modules if name.startswith('diffusers.pipelines.')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(MissingModelError, match=r"model_index\.json"):
        load_synthesiser(tmp_path)


def test_clips_are_computed_in_one_of_two_lengths_a_token_longer_than_any(synthesiser):
    longest = synthesiser.durations[1]
    drawn = {synthesiser.padded(synthesiser.attributes(replace(SPEC, seed=seed))) for seed in range(40)}
    asked = synthesiser.padded(synthesiser.attributes(replace(SPEC, duration=longest)))
    assert len(drawn) == 1 and asked not in drawn

    def with_room(seconds: float) -> tuple[int, int]:
        own = Attributes(seconds, seconds, -20.0, -1)
        return synthesiser.padded(own), synthesiser.frames(own) + synthesiser.transformer.patch

    for seconds in np.linspace(0.2, longest + MARGIN, 50):
        padded, needed = with_room(float(seconds))
        assert needed <= padded and padded in {*drawn, asked}
    assert with_room(longest)[0] == with_room(longest)[1] < with_room(longest + MARGIN)[0]
    assert with_room(longest + MARGIN)[0] == with_room(longest + MARGIN)[1]


def test_clips_of_both_lengths_in_one_call_come_in_order_and_as_alone(synthesiser):
    specs = [
        replace(SPEC, seed=seed, duration=synthesiser.durations[1] if seed % 2 else None)
        for seed in range(ROWS["cpu"] + 1)
    ]
    for spec, burst in zip(specs, synthesiser.synthesise(specs), strict=True):
        assert burst.seed == spec.seed
        assert burst.wave.tobytes() == synthesiser.synthesise([spec])[0].wave.tobytes()


@pytest.fixture
def moderate(tiny_checkpoint, tmp_path):
    """Of a checkpoint that moderates awe by 0.4, or as told."""

    def load(shares) -> Synthesiser:
        folder = tmp_path / "moderate"
        shutil.copytree(tiny_checkpoint, folder, dirs_exist_ok=True)
        settings = json.loads((folder / "generation.json").read_text())
        (folder / "generation.json").write_text(json.dumps({**settings, "moderation": shares}))
        return load_synthesiser(folder)

    return load


@pytest.mark.parametrize("share", [0.4, -0.4])
def test_a_moderated_emotion_gives_a_share_to_all_alike_or_takes_it(moderate, synthesiser, share):
    mild = moderate({"awe": share})
    specs = [
        replace(SPEC, vector=vector) for vector in ({"awe": 1.0}, {"fear": 0.5}, {"awe": 0.5, "fear": 0.5})
    ]
    plain, moderated = synthesiser.emotion(specs), mild.moderated(mild.emotion(specs))
    awe, fear = (mild.emotions.index(name) for name in ("awe", "fear"))
    expected = plain.clone()
    expected[0] = share / 30
    expected[0, awe] += 1 - share
    expected[2] = share / 2 / 30
    expected[2, awe] += (1 - share) / 2
    expected[2, fear] += 0.5
    torch.testing.assert_close(moderated, expected)
    assert torch.equal(synthesiser.moderated(plain), plain)
    torch.testing.assert_close(mild.condition(specs, [mild.attributes(s) for s in specs]).emotion, expected)


def test_moderation_of_one_emotion_changes_no_byte_of_another(moderate, synthesiser):
    mild = moderate({"awe": 0.4})
    for name, same in (("fear", True), ("awe", False)):
        (before,), (after,) = (
            one.synthesise([replace(SPEC, vector={name: 1.0})]) for one in (synthesiser, mild)
        )
        assert (before.wave.tobytes() == after.wave.tobytes()) is same


@pytest.mark.parametrize(
    ("shares", "sentence"),
    [
        ({"glee": 0.4}, "generation.json moderates glee, which the denoiser does not know"),
        ({"awe": 1.4}, "generation.json moderates awe by 1.4, expected -1 to 1"),
        ({"awe": -1.4}, "generation.json moderates awe by -1.4, expected -1 to 1"),
        ({"awe": "much"}, "generation.json moderates awe by 'much', expected -1 to 1"),
        (0.4, "expected a moderation such as {'adoration': 0.5}, got 0.4"),
    ],
)
def test_a_moderation_that_means_nothing_is_refused(moderate, shares, sentence):
    with pytest.raises(MissingModelError, match=re.escape(sentence)):
        moderate(shares)

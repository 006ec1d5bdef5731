"""What `generate` loads: the bytes of the pipeline, without the modules that only a diffusers pipeline needs."""

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

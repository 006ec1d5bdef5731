"""The refiner: moments, padding, emotion and noise; its place in the pipeline; and what its discriminators ask for."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import build_tiny_checkpoint, synthetic_burst

from vocalburst.gen import load_generator
from vocalburst.gen.burst import BurstSpec
from vocalburst.gen.data.errors import MissingModelError
from vocalburst.gen.mel_discriminators import MelDiscriminators, discriminator_hinge, refiner_hinge
from vocalburst.gen.models.refiner import MelRefiner, steadied
from vocalburst.gen.sampling import build_scheduler, last_sigma

EMOTIONS = ["awe", "fear", "pain"]


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small(trained: bool = True) -> MelRefiner:
    torch.manual_seed(0)
    refiner = MelRefiner(EMOTIONS, n_mels=12, dim=16, intermediate_dim=32, num_layers=2)
    if trained:
        torch.nn.init.normal_(refiner.out.weight, std=0.1)
    return refiner.eval()


def test_a_new_refiner_gives_every_bin_the_moments_of_recordings():
    deviation, mean = torch.linspace(0.3, 3, 12)[:, None], torch.linspace(-2, 2, 12)[:, None]
    recorded = [mean + deviation * randn(12, frames, seed=frames) for frames in (5, 300, 80)]
    sampled = [1 + 0.5 * randn(12, frames, seed=frames) for frames in (40, 9, 500)]
    refiner = small(trained=False).match(sampled, recorded)
    emotion = torch.eye(3)[:1]
    refined = torch.cat([refiner(x[None], randn(1, *x.shape), emotion)[0] for x in sampled], dim=1)
    wanted = torch.cat(recorded, dim=1)
    torch.testing.assert_close(refined.mean(1), wanted.mean(1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        refined.std(1, correction=0), wanted.std(1, correction=0), atol=1e-4, rtol=1e-4
    )


def test_what_lies_behind_a_clip_is_not_heard():
    refiner = small().match([1 + 2 * randn(12, 50)], [randn(12, 50, seed=1)])
    x, noise, emotion = randn(2, 12, 20), randn(2, 12, 20, seed=1), torch.eye(3)[:2]
    alone = refiner(x[:1, :, :13], noise[:1, :, :13], emotion[:1])
    mask = torch.arange(20) < torch.tensor([[13], [20]])
    padded = refiner(x, noise, emotion, mask)
    torch.testing.assert_close(padded[:1, :, :13], alone, atol=1e-5, rtol=1e-5)
    assert float(padded[0, :, 13:].detach().abs().max()) == 0
    assert float((padded[0, :, :13] - refiner(x, noise, emotion)[0, :, :13]).detach().abs().max()) > 1e-3


def test_noise_and_emotion_are_heard():
    refiner, x, noise = small(), randn(1, 12, 20), randn(1, 12, 20, seed=1)
    plain = refiner(x, noise, torch.eye(3)[:1])
    assert not torch.allclose(plain, refiner(x, -noise, torch.eye(3)[:1]))
    assert not torch.allclose(plain, refiner(x, noise, torch.eye(3)[1:2]))


def test_hinge_losses_by_hand():
    """Recorded scores 2 and 0.5, refined -3 and 0.25: 0 + 0 and 0.5 + 1.25, mean over two branches."""
    scores = [torch.tensor([[2.0], [-3.0]]), torch.tensor([[0.5], [0.25]])]
    assert float(discriminator_hinge(scores)) == pytest.approx((0 + 1.75) / 2)
    assert float(refiner_hinge([torch.tensor([[1.0, 3.0]]), torch.tensor([[-1.0]])])) == pytest.approx(-0.5)


def test_every_branch_tells_a_smooth_mel_from_a_grainy_one():
    """A few steps of the discriminators on textures: each of them alone ends up telling them apart."""
    torch.manual_seed(0)
    discriminators = MelDiscriminators(3, 12, width=8)
    optimiser = torch.optim.Adam(discriminators.parameters(), lr=1e-3, betas=(0.5, 0.9))
    emotion = torch.eye(3)[torch.arange(8) % 3]

    def batch(seed: int) -> torch.Tensor:
        smooth = 0.5 * randn(16, 12, 1, seed=seed).expand(-1, -1, 32)
        return smooth + torch.cat([0.1 * randn(8, 12, 32, seed=seed + 1), torch.zeros(8, 12, 32)])

    for step in range(60):
        loss = discriminator_hinge(discriminators(batch(3 * step), torch.cat([emotion, emotion])))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for score in discriminators(batch(1000), torch.cat([emotion, emotion])):
        recorded, smooth = score.detach().mean(dim=1).chunk(2)
        assert float(recorded.mean() - smooth.mean()) > 1


def test_the_score_depends_on_the_emotion_by_projection():
    discriminators, x = MelDiscriminators(3, 12, width=8), randn(1, 12, 32)
    one, other, both = (
        discriminators(x, torch.tensor([e])) for e in ([1.0, 0, 0], [0, 1.0, 0], [1.0, 1.0, 0])
    )
    none = discriminators(x, torch.zeros(1, 3))
    for a, b, c, d in zip(one, other, both, none, strict=True):
        assert not torch.allclose(a, b)
        torch.testing.assert_close(a + b - d, c, atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_tiny_checkpoint(tmp_path_factory.mktemp("refined") / "tiny", refined=True)


@pytest.fixture(scope="module")
def pipeline(folder):
    return load_generator(folder)


def spec(seed: int, **changes) -> BurstSpec:
    return replace(BurstSpec({"awe": 1.0}, seed, 4, 1.5, "euler"), **changes)


def test_a_clip_is_its_sketch_refined(pipeline):
    specs = [spec(seed) for seed in range(3)]
    for one, burst, sketch in zip(specs, pipeline.synthesise(specs), pipeline.sketch(specs), strict=True):
        drawn = [pipeline.attributes(one)]
        with torch.inference_mode():
            wanted = pipeline.refine([one], drawn, sketch[None])[0].numpy()
        np.testing.assert_allclose(burst.mel, wanted, atol=2e-3)
        assert np.abs(burst.mel - pipeline.normalizer.denormalize(sketch).numpy()).max() > 0.05


def test_the_noise_that_the_refiner_hears_is_the_clips_own(pipeline):
    specs = [spec(seed) for seed in (3, 4)]
    drawn = [pipeline.attributes(one) for one in specs]
    frames = max(map(pipeline.frames, drawn))
    sampled, refining = pipeline.noise(specs, drawn, frames), pipeline.noise(specs, drawn, frames, 6)
    again = pipeline.noise(specs[1:], drawn[1:], frames, 6)
    assert torch.equal(refining[1], again[0])
    for row, own in enumerate(drawn):
        a, b = (noise[row, :, : pipeline.frames(own)].flatten() for noise in (sampled, refining))
        assert abs(float(torch.corrcoef(torch.stack([a, b]))[0, 1])) < 0.05
    assert not torch.equal(refining[0, :, :20], refining[1, :, :20])


def test_bytes_do_not_depend_on_the_batch(pipeline):
    together = pipeline.synthesise([spec(seed) for seed in range(3)])
    alone = [pipeline.synthesise([spec(seed)])[0] for seed in range(3)]
    assert [burst.wave.tobytes() for burst in together] == [burst.wave.tobytes() for burst in alone]


def test_padded_rows_are_refined_as_alone(pipeline):
    specs = [spec(seed) for seed in range(4)]
    drawn = [pipeline.attributes(one) for one in specs]
    assert len({pipeline.frames(own) for own in drawn}) > 1
    sketches = pipeline.sketch(specs)
    longest = max(map(pipeline.frames, drawn))
    padded = torch.stack([torch.nn.functional.pad(x, (0, longest - x.shape[1])) for x in sketches])
    with torch.inference_mode():
        together = pipeline.refine(specs, drawn, padded)
        for row, (one, own, sketch) in enumerate(zip(specs, drawn, sketches, strict=True)):
            alone = pipeline.refine([one], [own], sketch[None])[0]
            torch.testing.assert_close(together[row, :, : alone.shape[1]], alone, atol=1e-4, rtol=1e-4)


def test_more_steps_get_less_of_it(pipeline):
    assert [pipeline.grain(spec(0, steps=steps)) for steps in (1, 4)] == [1.0, 1.0]
    shares = [last_sigma(build_scheduler("euler"), steps) for steps in (4, 8, 40)]
    assert pipeline.grain(spec(0, steps=8)) == pytest.approx(shares[1] / shares[0])
    assert pipeline.grain(spec(0, steps=40)) == pytest.approx(shares[2] / shares[0])
    assert shares[2] / shares[0] < 0.2
    drawn, x = [pipeline.attributes(spec(0))], pipeline.sketch([spec(0)])[0][None]
    plain = pipeline.normalizer.denormalize(pipeline.refiner.matched(x))
    with torch.inference_mode():
        all_of_it, part = (pipeline.refine([spec(0, steps=steps)], drawn, x) for steps in (4, 40))
    torch.testing.assert_close(
        part - plain, shares[2] / shares[0] * (all_of_it - plain), atol=1e-4, rtol=1e-3
    )


def test_the_checkpoint_says_how_much_of_it(folder, pipeline):
    half = load_generator(folder)
    half.defaults["grain"] = 0.5
    assert half.grain(spec(0)) == 0.5
    assert half.grain(spec(0, steps=40)) == pytest.approx(0.5 * pipeline.grain(spec(0, steps=40)))
    drawn, x = [pipeline.attributes(spec(0))], pipeline.sketch([spec(0)])[0][None]
    plain = pipeline.normalizer.denormalize(pipeline.refiner.matched(x))
    with torch.inference_mode():
        whole, part = (one.refine([spec(0)], drawn, x) for one in (pipeline, half))
    assert float((whole - plain).abs().mean()) > 0.1
    torch.testing.assert_close(part - plain, 0.5 * (whole - plain), atol=1e-4, rtol=1e-3)


def level(mel: torch.Tensor) -> torch.Tensor:
    """Natural log of the root of the sum of squares over bins, [B, T]."""
    return mel.exp().square().sum(dim=1).sqrt().log()


def test_steadying_moves_levels_towards_their_neighbours_and_leaves_colours():
    mel, mask = randn(2, 12, 6), torch.arange(6) < torch.tensor([[6], [4]])
    steady = steadied(mel, 0.1, mask)
    before, after = level(mel), level(steady)
    for row, n in enumerate((6, 4)):
        for t in range(n):
            left, right = before[row, max(t - 1, 0)], before[row, min(t + 1, n - 1)]
            assert float(after[row, t]) == pytest.approx(
                float(0.8 * before[row, t] + 0.1 * (left + right)), abs=1e-5
            )
    colour = steady - mel
    torch.testing.assert_close(colour, colour.mean(dim=1, keepdim=True).expand_as(colour))
    assert torch.equal(steady[1, :, 4:], mel[1, :, 4:]) and torch.equal(steadied(mel, 0.0, mask), mel)
    # A slope stays.
    slope = torch.arange(6.0).expand(1, 12, 6)
    torch.testing.assert_close(
        steadied(slope, 0.3, torch.ones(1, 6, dtype=torch.bool))[..., 1:-1], slope[..., 1:-1]
    )


def test_a_clip_is_steadied_as_the_checkpoint_says(folder, pipeline):
    steady = load_generator(folder)
    steady.defaults["steadying"] = 0.2
    specs = [spec(seed) for seed in range(3)]
    jumps = [
        [
            float(level(torch.from_numpy(burst.mel)[None]).diff().abs().mean())
            for burst in one.synthesise(specs)
        ]
        for one in (pipeline, steady)
    ]
    assert all(after < 0.9 * before for before, after in zip(*jumps, strict=True))


def test_a_variation_is_refined_too(pipeline, tiny_checkpoint):
    clip = synthetic_burst(1, 0.5)
    varied = [
        one.synthesise([spec(1, like=clip, strength=0.5)])[0].wave
        for one in (pipeline, load_generator(tiny_checkpoint))
    ]
    assert np.isfinite(varied[0]).all() and varied[0].tobytes() != varied[1].tobytes()


def test_the_folder_keeps_it_and_checks_it(pipeline, folder, tmp_path):
    pipeline.save_pretrained(tmp_path / "whole")
    again = load_generator(tmp_path / "whole")
    a, b = (one("fear", seed=5).audios[0] for one in (pipeline, again))
    assert a.tobytes() == b.tobytes()
    shutil.copytree(folder, tmp_path / "other")
    MelRefiner(["awe"], dim=16, intermediate_dim=32, num_layers=1).save_pretrained(
        tmp_path / "other" / "refiner"
    )
    with pytest.raises(
        MissingModelError, match=r"a refiner of other emotions or mel bins than the denoiser's"
    ):
        load_generator(tmp_path / "other")


def test_settings_of_another_version_are_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "old")
    settings = json.loads((tmp_path / "old" / "generation.json").read_text())
    (tmp_path / "old" / "generation.json").write_text(json.dumps({**settings, "texture": 1.0}))
    with pytest.raises(MissingModelError, match=r"settings of another version of vocalburst: texture"):
        load_generator(tmp_path / "old")

"""The denoiser: padding, batching, conditions that count, gradients everywhere, and its folder."""

from dataclasses import replace

import pytest
import torch
from test_conditioning import OUTLINE, conditions

from vocalburst.gen.data.emotions import EMOGATOR_30
from vocalburst.gen.models.conditioning import SCALARS
from vocalburst.gen.models.transformer import BurstTransformer, rotary, rotate


def tiny(patch: int = 4, seed: int = 0, **options) -> BurstTransformer:
    """Every parameter away from zero: the zero-initialised outputs would hide every mistake."""
    torch.manual_seed(seed)
    model = BurstTransformer(
        list(EMOGATOR_30[:5]), list("abcd"), list("xyz"),
        **{"n_mels": 6, "patch": patch, "dim": 32, "n_layers": 2, "n_heads": 2, "bottleneck": 12, "outline": OUTLINE}
        | options,
    )  # fmt: skip
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()


def noisy(n: int, frames: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 6, frames, generator=g), torch.rand(n, generator=g)


@pytest.mark.parametrize("patch", [1, 2, 4])
@pytest.mark.parametrize("frames", [12, 13, 15])
@torch.no_grad()
def test_padding_does_not_change_the_valid_part(patch, frames):
    model, condition = tiny(patch), conditions(2)
    x, sigma = noisy(2, frames)
    alone = model(x, sigma, condition)
    assert alone.shape == x.shape
    padded = torch.full((2, 6, frames + 10), 99.0)  # what lies in the padding must not matter
    padded[..., :frames] = x
    mask = torch.zeros(2, frames + 10, dtype=torch.bool)
    mask[:, :frames] = True
    torch.testing.assert_close(model(padded, sigma, condition, mask)[..., :frames], alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_an_item_alone_is_the_item_in_a_batch():
    model, condition = tiny(), conditions(3)
    x, sigma = noisy(3, 17)
    lengths = (9, 17, 12)
    mask = torch.arange(17)[None] < torch.tensor(lengths)[:, None]
    together = model(x, sigma, condition, mask)
    for row, length in enumerate(lengths):
        own = replace(condition, **{k: v[row : row + 1] for k, v in vars(condition).items()})
        alone = model(x[row : row + 1, :, :length], sigma[row : row + 1], own)
        torch.testing.assert_close(together[row : row + 1, :, :length], alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_every_valid_frame_sees_every_other():
    model, condition = tiny(), conditions(1)
    x, sigma = noisy(1, 16)
    before = model(x, sigma, condition)
    x[0, 0, 15] += 1.0
    assert ((model(x, sigma, condition) - before)[0, :, :4].abs() > 1e-6).all()


@torch.no_grad()
def test_time_runs_in_one_direction():
    """Rotary positions tell a clip from its reverse."""
    model, condition = tiny(patch=1), conditions(1)
    x, sigma = noisy(1, 8)
    there, back = model(x, sigma, condition), model(x.flip(-1), sigma, condition).flip(-1)
    assert (there - back).abs().max() > 1e-3


def test_rotary_scores_depend_on_the_distance_alone():
    g = torch.Generator().manual_seed(0)
    q, k = (torch.randn(16, generator=g).expand(1, 1, 10, 16) for _ in range(2))
    cos, sin = rotary(10, 16, torch.device("cpu"))
    scores = (rotate(q, cos, sin) @ rotate(k, cos, sin).transpose(-1, -2))[0, 0]
    for distance in (-3, 0, 4):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=0)
    assert abs(float(scores[0, 1] - scores[0, 2])) > 1e-3


def changed(condition, **values):
    """The condition with some entries replaced; the rest is shared."""
    return replace(condition, **{k: torch.as_tensor(v) for k, v in values.items()})


@torch.no_grad()
def test_each_condition_counts():
    model, condition = tiny(), conditions(1)
    x, sigma = noisy(1, 12)
    base = model(x, sigma, condition)
    others = {
        "emotion": changed(condition, emotion=condition.emotion.flip(1)),
        "intensity": changed(condition, emotion=condition.emotion * 0.5),
        "no emotion": condition.without_emotion(),
        "voice": changed(condition, voice=(condition.voice + 1) % 4),
        "no voice": changed(condition, voice=[-1]),
        "country": changed(condition, country=(condition.country + 1) % 3),
        "no country": changed(condition, country=[-1]),
    }
    for index, name in enumerate(SCALARS):
        for label, value in ((name, condition.scalars[0, index] * 0.7), (f"no {name}", float("nan"))):
            scalars = condition.scalars.clone()
            scalars[0, index] = value
            others[label] = changed(condition, scalars=scalars)
    for index in range(condition.augmentation.shape[1]):
        augmentation = condition.augmentation.clone()
        augmentation[0, index] += 0.5
        others[f"augmentation {index}"] = changed(condition, augmentation=augmentation)
    for name, other in others.items():
        assert (model(x, sigma, other) - base).abs().max() > 1e-4, name
    assert (model(x, sigma * 0.8, condition) - base).abs().max() > 1e-4


@torch.no_grad()
def test_values_under_a_null_change_nothing():
    model, condition = tiny(), conditions(2)
    x, sigma = noisy(2, 12)
    condition.emotion_known[:, 1:3] = False
    base = model(x, sigma, condition)
    emotion = condition.emotion.clone()
    emotion[:, 1:3] = 0.77
    assert torch.equal(model(x, sigma, changed(condition, emotion=emotion)), base)
    null = condition.without_emotion()
    assert torch.equal(
        model(x, sigma, null), model(x, sigma, changed(null, emotion=torch.rand_like(emotion)))
    )


def test_gradients_reach_every_parameter():
    model = tiny().train()
    condition = conditions(8)
    condition.emotion_known[:2] = False
    condition.voice[:4] = torch.arange(4)
    condition.country[:3] = torch.arange(3)
    condition.voice[7] = condition.country[7] = -1
    condition.scalars[6] = condition.outline[5] = float("nan")
    x, sigma = noisy(8, 13)
    model(x, sigma, condition).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name
    for table in (model.condition.voice, model.condition.country):
        assert (table.weight.grad != 0).any(dim=1).all()  # the null row too


def correlated_patches(n: int = 4000, size: int = 12) -> torch.Tensor:
    """Patches [n, K] of zero mean with few large and many small directions."""
    g = torch.Generator().manual_seed(0)
    mixing = torch.randn(size, size, generator=g) * torch.logspace(0, -2, size)
    return torch.randn(n, size, generator=g) @ mixing.T


def test_a_new_model_is_the_wiener_filter_of_its_patches():
    """The best linear estimate of Gaussian x from (1 - s) x + s noise, by plain linear algebra."""
    model = BurstTransformer(["awe"], n_mels=6, patch=2, dim=16, n_layers=1, n_heads=1, bottleneck=4)
    clean = correlated_patches()
    model.preconditioner.fit(clean.split(1000))
    covariance = (clean.T @ clean / len(clean)).double()
    condition = changed(conditions(1, emotions=1), voice=[-1], country=[-1])
    x, _ = noisy(1, 8)
    patches = model.patches(x)[0].double()
    for s in (0.05, 0.5, 0.95):
        total = (1 - s) ** 2 * covariance + s**2 * torch.eye(12, dtype=torch.float64)
        expected = patches @ torch.linalg.solve(total, (1 - s) * covariance)
        answer = model.patches(model(x, torch.tensor([s]), condition))[0]
        torch.testing.assert_close(answer.double(), expected, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("s", [0.1, 0.5, 0.9])
def test_the_network_sees_and_answers_unit_variance(s):
    preconditioner = tiny(patch=2).preconditioner
    clean = correlated_patches()
    preconditioner.fit([clean])
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    sigma = torch.tensor([s])
    unit, wiener = preconditioner.encode(((1 - s) * clean + s * noise)[None], sigma)
    torch.testing.assert_close(unit[0].std(0), torch.ones(12), atol=0.08, rtol=0)
    # What the network has to say, were it always right, has unit variance in every direction too.
    weight = preconditioner.decode(torch.zeros(1, 12, 12), torch.eye(12)[None], sigma)[0].norm(dim=1)
    target = (clean @ preconditioner.axes - wiener[0]) / weight
    torch.testing.assert_close(target.std(0), torch.ones(12), atol=0.08, rtol=0)


def test_axes_are_fitted_to_several_patches():
    with pytest.raises(ValueError, match="at least 2 patches, got 1"):
        tiny(patch=2).preconditioner.fit([torch.zeros(1, 12)])


def test_dropout_acts_in_training_only():
    model, condition = tiny(dropout=0.5), conditions(1)
    x, sigma = noisy(1, 12)
    assert torch.equal(model(x, sigma, condition), model(x, sigma, condition))
    model.train()
    assert not torch.equal(model(x, sigma, condition), model(x, sigma, condition))


@torch.no_grad()
def test_bfloat16_autocast_stays_close():
    model, condition = tiny(), conditions(2)
    x, sigma = noisy(2, 14)
    exact = model(x, sigma, condition)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(x, sigma, condition)
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().mean() < 0.05 * exact.abs().mean()


@torch.no_grad()
def test_save_and_load(tmp_path):
    model, condition = tiny(), conditions(1)
    model.save_pretrained(tmp_path)
    assert [p.name for p in tmp_path.glob("*.safetensors")] == ["diffusion_pytorch_model.safetensors"]
    loaded = BurstTransformer.from_pretrained(tmp_path).eval()
    x, sigma = noisy(1, 13)
    own, theirs = model.state_dict(), loaded.state_dict()
    assert own.keys() == theirs.keys() and all(torch.equal(own[key], theirs[key]) for key in own)
    torch.testing.assert_close(loaded(x, sigma, condition), model(x, sigma, condition), atol=1e-6, rtol=0)
    assert tuple(loaded.config.emotions) == EMOGATOR_30[:5] and list(loaded.config.countries) == list("xyz")

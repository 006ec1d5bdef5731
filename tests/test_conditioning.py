"""Conditions: nulls, per-sample dropout, and the features of scalars."""

import math
from dataclasses import fields, replace

import torch

from vocalburst.gen.models.conditioning import (
    AUGMENTATIONS,
    SCALARS,
    Condition,
    ConditionEmbedding,
    drop_conditions,
    sinusoids,
)

OUTLINE = 3  # numbers of an outline


def conditions(n: int, seed: int = 0, emotions: int = 5) -> Condition:
    """n random conditions, everything known."""
    g = torch.Generator().manual_seed(seed)
    return Condition(
        emotion=torch.rand(n, emotions, generator=g),
        emotion_known=torch.ones(n, emotions, dtype=torch.bool),
        voice=torch.randint(0, 4, (n,), generator=g),
        country=torch.randint(0, 3, (n,), generator=g),
        scalars=torch.tensor([1.2, 0.8, -25.0, 30.0]) + torch.rand(n, len(SCALARS), generator=g),
        augmentation=torch.rand(n, len(AUGMENTATIONS), generator=g),
        outline=torch.randn(n, OUTLINE, generator=g),
        span=torch.tensor([2.0, 8.0]) + torch.rand(n, 2, generator=g),
    )


def embedding(seed: int = 0) -> ConditionEmbedding:
    torch.manual_seed(seed)
    module = ConditionEmbedding(16, n_emotions=5, n_voices=4, n_countries=3, outline=OUTLINE)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module.eval()


def rate(gone: torch.Tensor) -> float:
    return float(gone.float().mean())


def test_dropout_is_per_sample_at_the_asked_rates():
    torch.manual_seed(0)
    n = 20_000
    before = conditions(n)
    after = drop_conditions(before, p_emotion=0.1, p_attribute=0.3)
    emotion_gone = ~after.emotion_known
    assert torch.equal(emotion_gone.any(1), emotion_gone.all(1))  # a sample's emotions go together
    assert abs(rate(emotion_gone[:, 0]) - 0.1) < 0.01
    gone = {
        "voice": after.voice == -1,
        "country": after.country == -1,
        "outline": after.outline.isnan().any(1),
        **{name: after.scalars[:, i].isnan() for i, name in enumerate(SCALARS)},
    }
    for name, mask in gone.items():
        assert abs(rate(mask) - 0.3) < 0.02, name
    joint = rate(gone["voice"] & gone["country"] & gone["age"])
    assert abs(joint - 0.3**3) < 0.01  # each on its own
    assert abs(rate(gone["seconds"] & gone["active_seconds"]) - 0.09) < 0.01
    assert torch.equal(
        after.outline.isnan().any(1), after.outline.isnan().all(1)
    )  # an outline goes as a whole
    kept = ~gone["voice"]
    assert torch.equal(after.voice[kept], before.voice[kept])
    assert torch.equal(after.emotion, before.emotion)
    assert torch.equal(
        after.augmentation, before.augmentation
    )  # says what was done to the sound: never dropped


def test_dropout_rates_of_zero_and_one():
    before = conditions(50)
    same = drop_conditions(before, 0.0, 0.0)
    assert all(torch.equal(getattr(same, f.name), getattr(before, f.name)) for f in fields(before))
    none = drop_conditions(before, 1.0, 1.0)
    assert not none.emotion_known.any() and (none.voice == -1).all() and none.scalars.isnan().all()
    assert none.outline.isnan().all() and torch.equal(none.span, before.span)


def test_dropout_keeps_what_was_not_known_unknown():
    before = conditions(200)
    before.emotion_known[:, 2] = False
    before.scalars[:, 3] = float("nan")
    after = drop_conditions(before, 0.5, 0.0)
    assert not after.emotion_known[:, 2].any()
    assert after.scalars[:, 3].isnan().all()


def test_not_labelled_is_not_the_value_zero():
    module, condition = embedding(), conditions(1)
    condition.emotion[0, 2] = 0.0
    absent = module(condition)
    condition.emotion_known[0, 2] = False
    unknown = module(condition)
    assert (absent - unknown).abs().max() > 1e-2
    condition.emotion[0, 2] = 0.9  # what lies under the mask does not count
    assert torch.equal(module(condition), unknown)


def test_no_known_emotion_is_the_learned_null():
    module, condition = embedding(), conditions(2)
    null = module(condition.without_emotion())
    condition.emotion[:] = 0.3
    assert torch.equal(module(condition.without_emotion()), null)
    with torch.no_grad():
        module.emotion_null += 1.0
    assert (module(condition.without_emotion()) - null).abs().max() > 1e-2
    assert condition.emotion_known.all()  # `without_emotion` leaves its own condition alone


def test_each_scalar_is_scaled_by_its_own_range():
    module, condition = embedding(), conditions(1)
    condition.scalars[:] = torch.tensor([[2.0, 1.0, -15.0, 20.0]])
    captured = []
    for linear in module.scalar.values():
        linear.register_forward_hook(lambda _, inputs, __: captured.append(inputs[0][0]))
    module(condition)
    for features, value in zip(captured, (0.5, 0.25, 0.75, 0.25), strict=True):
        torch.testing.assert_close(features, sinusoids(torch.tensor(value), module.FEATURES))


def test_sinusoids_equal_the_formula():
    values, dim = [0.0, 0.25, 1.0], 8
    expected = []
    for value in values:
        phases = [2 * math.pi * value * 100 ** (-k / (dim // 2)) for k in range(dim // 2)]
        expected.append([*map(math.cos, phases), *map(math.sin, phases)])
    torch.testing.assert_close(sinusoids(torch.tensor(values), dim), torch.tensor(expected))


def test_cat_puts_one_batch_after_the_other():
    first, second = conditions(2, seed=1), conditions(3, seed=2)
    both = first.cat(second)
    for f in fields(both):
        whole = getattr(both, f.name)
        assert torch.equal(whole[:2], getattr(first, f.name))
        assert torch.equal(whole[2:], getattr(second, f.name))


def test_a_second_voice_lies_between():
    """Of voices e1 and e2 about a mean of 0 the mix is (1, 0.75) brought back to length 1: (0.8, 0.6)."""
    module, voices = embedding(), torch.tensor([[0, -1], [0, 1], [1, 0], [-1, -1], [2, 3]])
    with torch.no_grad():
        module.voice.weight.zero_()
        module.voice.weight[0, 0], module.voice.weight[1, 1] = 1.0, 1.0
        module.voice.weight[2, 0], module.voice.weight[3, 1] = -1.0, -1.0
        module.voice.weight[4, 2] = 9.0  # the null, which is no part of the mean
        told = module.mixed_voice(voices)[:, :3]
    expected = torch.tensor([[1, 0, 0], [0.8, 0.6, 0], [0.6, 0.8, 0], [0, 0, 9], [-0.8, -0.6, 0]])
    torch.testing.assert_close(told, expected)
    alone = conditions(3)
    pairs = replace(alone, voice=torch.stack([alone.voice, torch.full((3,), -1)], dim=1))
    torch.testing.assert_close(module(pairs), module(alone), rtol=0, atol=0)
    pairs.voice[:, 1] = (alone.voice + 1) % 4
    assert (module(pairs) - module(alone)).abs().amax(dim=1).min() > 1e-3

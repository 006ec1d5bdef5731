"""Early and late fusion: what is fused, how, and that each part finds itself again."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import synthetic_burst
from test_pretrained import build_pretrained

from vocalburst.eval.recognition.estimator import RecognitionModel
from vocalburst.eval.recognition.fusion import OPENSMILE
from vocalburst.eval.recognition.registry import build
from vocalburst.gen.data.errors import InputDataError, MissingModelError

TYPE = "avb-type"
BURSTS = [synthetic_burst(k, seconds=0.3, pitch=150 + 50 * (k % 8)) for k in range(24)]
KINDS = (np.arange(24) % 8).astype(float)
TRAIN, DEV = (BURSTS[:16], KINDS[:16]), (BURSTS[16:], KINDS[16:])


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Two tiny networks, as the published pair of wav2vec 2.0 and HuBERT."""
    root = tmp_path_factory.mktemp("ssl")
    made = []
    for kind in ("wav2vec2", "hubert"):
        folder = build_pretrained(root / kind, kind)
        settings = {"pretrained": str(folder), "refit_on_dev": False, "c_grid": [10.0]}
        made.append({"model": kind, "settings": settings})
    return made


@pytest.fixture(scope="module")
def alone(parts):
    return [build(part["model"], TYPE, cache=None, **part["settings"]).fit(*TRAIN, DEV) for part in parts]


def fused(name, parts, **settings):
    return build(name, TYPE, parts=parts, **settings)


@pytest.fixture(scope="module")
def late(parts):
    return fused("late-fusion", parts).fit(*TRAIN, DEV)


@pytest.fixture(scope="module")
def early(parts):
    return fused("early-fusion", parts, c_grid=[10.0]).fit(*TRAIN, DEV)


def test_late_fusion_is_the_mean_of_probabilities(late, alone):
    expected = np.mean([model.predict_proba(BURSTS[16:]) for model in alone], axis=0)
    np.testing.assert_allclose(late.predict_proba(BURSTS[16:]), expected, atol=1e-6)
    np.testing.assert_array_equal(late.predict(BURSTS[16:])[:, 0], expected.argmax(axis=1))
    assert (alone[0].predict_proba(BURSTS) != alone[1].predict_proba(BURSTS)).any()
    np.testing.assert_allclose(
        late.embed(BURSTS[:2]), np.concatenate([m.embed(BURSTS[:2]) for m in alone], axis=1), atol=1e-5
    )
    assert late.dim == 48 and [part["model"] for part in late.training_["parts"]] == ["wav2vec2", "hubert"]


def test_late_fusion_of_numbers_is_their_mean(parts):
    y = np.stack([np.linspace(0, 1, 16), np.linspace(1, 0, 16)], axis=1)
    late = build("late-fusion", "avb-two", parts=parts).fit(BURSTS[:16], y)
    alone = [build(p["model"], "avb-two", cache=None, **p["settings"]).fit(BURSTS[:16], y) for p in parts]
    expected = np.mean([model.predict(BURSTS) for model in alone], axis=0)
    np.testing.assert_allclose(late.predict(BURSTS), expected, atol=1e-6)


def test_early_fusion_is_one_head_on_features_side_by_side(early, alone):
    expected = np.concatenate([model.features(BURSTS[:3]) for model in alone], axis=1)
    np.testing.assert_array_equal(early.features(BURSTS[:3]), expected)
    assert early.dim == 48 and early.head.weights.shape == (48, 8)
    assert early.preprocessing == "+".join(model.preprocessing for model in alone)
    assert early.score(*TRAIN) > 0.5


@pytest.mark.parametrize("name", ["early", "late"])
def test_round_trip(name, request, tmp_path):
    model = request.getfixturevalue(name)
    model.save(tmp_path)
    loaded = RecognitionModel.load(tmp_path)
    np.testing.assert_array_equal(loaded.predict_proba(BURSTS[16:]), model.predict_proba(BURSTS[16:]))
    np.testing.assert_array_equal(loaded.embed(BURSTS[16:]), model.embed(BURSTS[16:]))
    assert loaded.training_ == model.training_


@pytest.mark.parametrize("name", ["early", "late"])
def test_a_part_of_other_weights_is_refused(name, request, parts, tmp_path):
    model = request.getfixturevalue(name)
    model.save(tmp_path / "model")
    other = build_pretrained(tmp_path / "other", "hubert", norm="layer")
    path = tmp_path / "model" / "config.json"
    path.write_text(path.read_text().replace(parts[1]["settings"]["pretrained"], str(other)))
    with pytest.raises(MissingModelError, match=r"expected the 24 features of the weights hubert-\w{12} in"):
        RecognitionModel.load(tmp_path / "model")


def test_settings_for_all_parts(parts):
    late = fused("late-fusion", [*parts[:1], {"model": "cnnatt"}], cache="a", refit_on_dev=True)
    assert late.settings.model_dump(mode="json").keys() == {"parts", "refit_on_dev"}
    free = [{"model": p["model"], "settings": {"pretrained": p["settings"]["pretrained"]}} for p in parts]
    for asked, own in ((None, True), (True, True), (False, False)):
        built = fused("late-fusion", free, cache="a", refit_on_dev=asked).parts
        assert [(p.settings.refit_on_dev, p.settings.cache) for p in built] == [(own, "a")] * 2
    assert not fused("late-fusion", parts, refit_on_dev=True).parts[0].settings.refit_on_dev  # says so itself


def test_the_openSMILE_pair_is_the_default():
    assert build("late-fusion", TYPE).settings.parts == OPENSMILE
    named = build("early-fusion", TYPE, parts="compare-lr+egemaps-lr", cache=None)
    assert named.settings.parts == OPENSMILE
    assert [part.settings.feature_set for part in named.parts] == ["compare", "egemaps"]


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        (["wav2vec2"], "settings of early-fusion: parts"),
        ("compare-lr", "settings of early-fusion: parts"),
        (["compare-lr", "mfcc"], "unknown recognition model 'mfcc'; known: compare-svr"),
        (["compare-lr", "late-fusion"], "early-fusion: late-fusion cannot be a part of a fusion"),
        ([{"model": "hubert", "settings": {"kind": "x"}}, "compare-lr"], "settings of hubert: kind"),
        (["compare-lr", "cnnatt"], "early-fusion: cnnatt has no features of its own to lay beside others"),
    ],
)
def test_parts_that_cannot_be_fused(parts, match):
    with pytest.raises(InputDataError, match=match):
        build("early-fusion", TYPE, parts=parts).fit(*TRAIN)

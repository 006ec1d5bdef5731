"""The small network: its size, what pads it, what a teacher adds to its loss, one run on real clips."""

import numpy as np
import pytest
import torch
from conftest import synthetic_burst
from emogator_fixtures import real_clips
from recogniser_fixtures import small_logmel, tone

from vocalburst.eval.evaluators import load_evaluator
from vocalburst.eval.recogniser import pad_features
from vocalburst.eval.recognition.estimator import RecognitionModel
from vocalburst.eval.recognition.registry import build
from vocalburst.eval.recognition.teacher import class_places, soften, taught_classes, teacher_probabilities
from vocalburst.eval.recognition.wav2small import MEL
from vocalburst.eval.tasks.registry import TASKS
from vocalburst.gen.data.emotions import EMOGATOR_30, EXVO_10
from vocalburst.gen.data.errors import InputDataError, MissingModelError


def unsettled(model):
    """A network of the model, in evaluation mode, whose norms would leak into padding if nothing masked it."""
    network = model.new_network()
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith(("running_mean", "norm.bias")):
            value.normal_(std=0.5, generator=generator)
    network.body.standard.mean.fill_(-6.0)
    return network.eval()


def test_size():
    """72 K, as the paper's title has it: every layer counted by hand."""
    network = build("wav2small", "emogator-30").new_network()
    stem = 16 * 25 + 2 * 16
    stages = sum(9 * a * b + 9 * b * b + 4 * b for a, b in ((16, 24), (24, 40)))
    pooling = 40 * 8 * 72 + 2 * 72 + 72 + 1
    linear = 144 * 96 + 96 + 96 * 30 + 30
    assert sum(p.numel() for p in network.parameters()) == stem + stages + pooling + linear == 72_455


def test_features_do_not_know_level_or_silence():
    model = build("wav2small", "emogator-30")
    wave = synthetic_burst(1, seconds=0.8)
    mel = model.features(wave)
    assert mel.shape[0] == MEL.n_mels and abs(mel.shape[1] - 0.8 * 16_000 / 256) < 4
    assert float(mel.max() - mel.min()) <= 60 / 20 * np.log(10) + 1e-4
    padded = np.concatenate([wave * 0.1, np.zeros(12_000, np.float32)])
    torch.testing.assert_close(model.features(padded), mel, atol=2e-3, rtol=0)
    with pytest.raises(InputDataError, match="is silent; there is no burst to recognise"):
        model.features(np.zeros(9000, np.float32))


def test_padding_changes_nothing():
    model = build("wav2small", "emogator-30")
    network = unsettled(model)
    clips = [model.features(tone(300 + 100 * k, 0.3 + 0.17 * k, seed=k)) for k in range(4)]
    x, lengths = pad_features(clips)
    x = x + 50 * (torch.arange(x.shape[-1]) >= lengths[:, None])[:, None]  # whatever stands after the end
    with torch.no_grad():
        batch, _ = network(x, lengths)
        alone = torch.cat([network(mel[None], torch.tensor([mel.shape[-1]]))[0] for mel in clips])
    torch.testing.assert_close(batch, alone, atol=1e-5, rtol=1e-5)


def test_every_parameter_learns():
    model = build("wav2small", "emogator-30")
    network = model.new_network()
    x, lengths = pad_features([model.features(tone(200 + 90 * k, 0.5, seed=k)) for k in range(8)])
    _, raw = network(x, lengths)
    model.loss(network, raw, torch.arange(8.0)[:, None], None).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_loss_against_its_formula():
    model = build("wav2small", "emogator-30", alpha=0.3, temperature=2.0)
    network = model.new_network()
    generator = torch.Generator().manual_seed(1)
    raw = torch.randn(5, 30, generator=generator)
    teacher = torch.randn(5, 30, generator=generator).softmax(1).double().numpy()
    y = torch.tensor([[3.0], [0.0], [29.0], [7.0], [7.0]])
    soft = soften(teacher, 2.0)
    odds = np.sqrt(teacher)  # p^(1/T), not yet summing to one
    np.testing.assert_allclose(soft, odds / odds.sum(1, keepdims=True))
    q = (raw.double() / 2).softmax(1).numpy()
    divergence = (soft * np.log(soft / q)).sum(1).mean()
    hard = -raw.double().log_softmax(1).numpy()[range(5), y[:, 0].long()].mean()
    got = float(model.loss(network, raw, y, torch.from_numpy(soft).float()))
    np.testing.assert_allclose(got, 0.3 * 4 * divergence + 0.7 * hard, rtol=1e-5)
    np.testing.assert_allclose(float(model.loss(network, raw, y, None)), hard, rtol=1e-5)


def test_a_teacher_of_thirty_teaches_ten():
    """Elation counts as excitement, pride as nothing; Horror, which the task may lack, is nearly impossible."""
    task = TASKS["exvo-10"]
    places = class_places(task.columns[0], EMOGATOR_30)
    assert EXVO_10[places[EMOGATOR_30.index("awe")]] == "awe"
    assert EXVO_10[places[EMOGATOR_30.index("elation")]] == "excitement"
    assert places[EMOGATOR_30.index("pride")] == -1
    one = np.full((1, 30), 0.5 / 28)
    one[0, [EMOGATOR_30.index("awe"), EMOGATOR_30.index("pride")]] = 0.25
    taught = taught_classes(one, places, 10)
    np.testing.assert_allclose(taught.sum(), 1)
    heard = (places >= 0).sum() - 1
    np.testing.assert_allclose(taught[0, EXVO_10.index("awe")], 0.25 / (0.25 + heard * 0.5 / 28))
    assert taught[0, EXVO_10.index("horror")] < 1e-9
    assert build("wav2small", "exvo-10").teacher() == "emo18"


def test_who_teaches_what(tmp_path):
    assert build("wav2small", "emogator-30").teacher() == "emo18"
    assert build("wav2small", "emogator-30", teacher="none").teacher() is None
    for task in ("avb-two", "avb-type", "ravdess"):
        assert build("wav2small", task).teacher() is None
    with pytest.raises(InputDataError, match=r"^avb-two has no class column for the teacher emo18 to teach$"):
        build("wav2small", "avb-two", teacher="emo18").soft_targets([tone(200, 0.5)])
    small_logmel().save(tmp_path, "card", {})  # knows anger, awe and fear
    message = "knows 3 of the 30 classes of emogator-30, expected all; the first that it lacks is adoration$"
    with pytest.raises(InputDataError, match=message):
        build("wav2small", "emogator-30", teacher=str(tmp_path)).soft_targets([tone(200, 0.5)])
    with pytest.raises(MissingModelError, match="nowhere: is no evaluator"):
        build("wav2small", "emogator-30", teacher="nowhere").soft_targets([tone(200, 0.5)])


def test_teacher_probabilities_are_the_evaluators():
    waves = real_clips()[0][:18]  # more than are heard at once
    task = TASKS["emogator-30"]
    got = teacher_probabilities("emo18", task, task.columns[0], waves)
    np.testing.assert_allclose(got, load_evaluator("emo18").listen(waves).probabilities, atol=1e-6)


def test_learns_real_clips_and_keeps_what_it_learned(tmp_path):
    """Thirty-two bursts of two people, one or two of each emotion: it can know all of them by heart."""
    waves, classes = real_clips()
    quiet = {"augmentation": {}, "dropout": 0, "teacher": "none"}
    model = build("wav2small", "emogator-30", epochs=24, batch_size=16, lr=1e-2, **quiet)
    assert model.fit(waves, classes) is model
    assert (model.predict(waves)[:, 0] == classes).mean() > 0.9
    model.save(tmp_path / "run")
    again = RecognitionModel.load(tmp_path / "run")
    np.testing.assert_array_equal(again.predict_proba(waves[:3]), model.predict_proba(waves[:3]))
    assert again.training_["teacher"] == "none"


def test_a_teacher_alone_is_followed():
    """With alpha 1 no label counts: the student comes nearer to its teacher than a constant answer would."""
    waves, classes = real_clips()
    model = build(
        "wav2small", "emogator-30", epochs=12, batch_size=16, lr=1e-2, alpha=1, augmentation={}, dropout=0
    )
    wrong = np.roll(classes, 7)
    model.fit(waves, wrong)
    taught = load_evaluator("emo18").listen(waves).probabilities
    own = model.predict_proba(waves)

    def divergence(p):
        return (taught * np.log(taught / p)).sum(1).mean()

    assert divergence(own) < 0.6 * divergence(np.broadcast_to(taught.mean(0), own.shape))
    assert model.training_["teacher"] == "emo18"

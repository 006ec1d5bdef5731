"""ONNX files of trained networks: the same answers as torch at any length, small, and said so by the command."""

import json
import sys

import numpy as np
import pytest
import soundfile
import torch
from emogator_fixtures import real_clips
from recogniser_fixtures import tone

from vocalburst.eval.recognition import onnx_export
from vocalburst.eval.recognition.onnx_export import OneClip, export_onnx, session, write_onnx
from vocalburst.eval.recognition.registry import build
from vocalburst.gen.data.emotions import EMOGATOR_30
from vocalburst.gen.data.errors import InputDataError, MissingModelError, RunError

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def trained(task: str = "emogator-30"):
    """A network with random weights whose norms know what real clips are like, as after training."""
    model = build("wav2small", task)
    network = model.new_network().train()
    features = [model.features(wave) for wave in real_clips()[0][:8]]
    model.fit_scale(network.body, features)
    with torch.no_grad():
        for _ in range(20):
            for x in features:
                network(x[None].expand(2, -1, -1), torch.tensor([x.shape[-1]] * 2))
        network.outputs.linear.weight.mul_(20)  # answers that are far from uniform
    model.network_ = network.eval()
    return model


@pytest.fixture(scope="module")
def model():
    return trained()


def test_answers_are_those_of_torch_at_any_length(model, tmp_path):
    report = export_onnx(model, tmp_path / "new" / "small.onnx", waves=real_clips()[0][8:20])
    expected = model.hear(real_clips()[0][8:20])
    running = session(tmp_path / "new" / "small.onnx")
    lengths = set()
    for wave, embedding, probabilities in zip(
        real_clips()[0][8:20], expected.embeddings, expected.probabilities, strict=True
    ):
        x = model.features(wave)[None].numpy()
        lengths.add(x.shape[-1])
        got = running.run(None, {"features": x})
        np.testing.assert_allclose(got[0][0], embedding, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(got[1][0], probabilities, atol=1e-5)
    assert len(lengths) > 5 and expected.probabilities.max() > 0.2
    assert report["onnx"]["max_difference"] < 1e-5 and report["onnx"]["same_class"] == 1
    assert report["torch"]["clips"] == 12 and report["torch"]["ms_per_clip"] > 0
    quantised = report["int8"]
    assert 0 < quantised["max_difference"] < 0.5 and quantised["same_class"] >= 0.5
    files = {
        name: tmp_path / "new" / file for name, file in (("onnx", "small.onnx"), ("int8", "small.int8.onnx"))
    }
    assert {name: path.stat().st_size for name, path in files.items()} == {
        name: report[name]["bytes"] for name in files
    }
    assert quantised["bytes"] < 0.6 * report["onnx"]["bytes"] < 0.6 * 330_000


def test_what_the_file_says_of_itself(model, tmp_path):
    import onnx

    write_onnx(model, tmp_path / "small.onnx")
    values = {prop.key: prop.value for prop in onnx.load(tmp_path / "small.onnx").metadata_props}
    assert values["preprocessing"] == model.preprocessing and values["task"] == "emogator-30"
    assert json.loads(values["columns"]) == {"Emotion": list(EMOGATOR_30)}


def test_numbers_and_classes_of_one_task():
    """ExVo's ten intensities, an age of up to 120 and four countries are read as the model reads them."""
    model = trained("exvo-multitask")
    waves = real_clips()[0][:2]
    expected = model.hear(waves)
    for wave, values, probabilities in zip(waves, expected.values, expected.probabilities, strict=True):
        answers = OneClip(model.network)(model.features(wave)[None])[1][0].detach().numpy()
        np.testing.assert_allclose(answers[:11], values[:11], rtol=1e-4)
        np.testing.assert_allclose(answers[11:], probabilities, atol=1e-5)


def test_without_clips_weights_alone_are_quantised(model, tmp_path):
    report = export_onnx(model, tmp_path / "small.onnx")
    assert set(report) == {"onnx", "int8"} and set(report["int8"]) == {"bytes"}
    assert report["int8"]["bytes"] < 0.6 * report["onnx"]["bytes"]
    x = model.features(tone(300, 0.7))[None].numpy()
    got, expected = (
        session(tmp_path / name).run(["answers"], {"features": x})[0]
        for name in ("small.int8.onnx", "small.onnx")
    )
    assert np.abs(got - expected).max() < 0.5 and abs(got.sum() - 1) < 1e-4


def test_the_command(model, tmp_path, monkeypatch, capsys):
    model.save(tmp_path / "run")
    for k, emotion in enumerate(("awe", "fear")):
        (tmp_path / "clips" / emotion).mkdir(parents=True)
        soundfile.write(tmp_path / "clips" / emotion / "1.wav", tone(200 + 100 * k, 0.5), 24_000)
    command = ["onnx_export", tmp_path / "run", "--out", tmp_path / "m.onnx", "--clips", tmp_path / "clips"]
    monkeypatch.setattr(sys, "argv", [str(part) for part in command])
    with pytest.raises(SystemExit, match=r"^0$"):
        onnx_export.main()
    report = json.loads(capsys.readouterr().out)
    assert report["torch"]["clips"] == 2 and set(report) == {"torch", "onnx", "int8"}
    assert (tmp_path / "m.int8.onnx").stat().st_size == report["int8"]["bytes"]
    monkeypatch.setattr(
        sys, "argv", ["onnx_export", str(tmp_path / "none"), "--out", str(tmp_path / "m.onnx")]
    )
    with pytest.raises(SystemExit, match=r"^4$"):
        onnx_export.main()


def test_what_cannot_be_exported(model, tmp_path, monkeypatch):
    message = r"^wav2small is not a fitted network, and only those are written as ONNX$"
    with pytest.raises(InputDataError, match=message):
        export_onnx(build("wav2small", "emogator-30"), tmp_path / "m.onnx")
    monkeypatch.setattr(model.network.body, "forward", lambda x, lengths: torch.linalg.eig(x[0, :3, :3]))
    with pytest.raises(RunError, match=r"^wav2small cannot be written as ONNX "):
        export_onnx(model, tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingModelError, match=r"not installed; pip install 'vocalburst\[onnx\]'$"):
        export_onnx(model, tmp_path / "m.onnx")

"""The vocoder, the files it is loaded from, and the losses it is trained by."""

import json
import math
import os
import pickle

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from vocalburst.gen.data.errors import MissingModelError
from vocalburst.gen.data.mel import LogMel, MelConfig
from vocalburst.gen.models.vocoder import BurstVocoder, cover_matrix, load_vocoder
from vocalburst.gen.vocoder_losses import (
    MAGNITUDE_FLOOR,
    Discriminators,
    Verdict,
    discriminator_loss,
    generator_losses,
    multi_resolution_stft,
    stft_magnitude,
)

CONFIG = MelConfig()


def small(skip: bool = True, **changes) -> BurstVocoder:
    torch.manual_seed(0)
    sizes = {"dim": 16, "intermediate_dim": 32, "num_layers": 2, "magnitude_skip": skip} | changes
    return BurstVocoder(**sizes).eval()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.1


@pytest.mark.parametrize("skip", [False, True])
def test_wave_is_one_hop_per_frame_after_the_first(skip):
    with torch.no_grad():
        assert small(skip)(noise(3, 100, 9)).shape == (3, 8 * CONFIG.hop_length)


@pytest.mark.parametrize("shape", [(1, 99, 9), (100, 9), (1, 100, 1)])
def test_a_mel_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="expected a mel of shape"):
        small()(torch.zeros(shape))


def test_importing_vocos_leaves_the_threads_alone():
    before = torch.get_num_threads()
    small()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("skip", [False, True])
def test_digital_silence_stays_silent(skip):
    """Also inside a clip: beyond the reach of the last audible frame's window every sample is 0."""
    vocoder = small(skip)
    mel = LogMel()(torch.zeros(1, 256 * 30))
    with torch.no_grad():
        assert vocoder(mel).abs().max() == 0
        mel[..., :10] = -2.0
        wave = vocoder(mel)[0]
    last = 9 * CONFIG.hop_length + CONFIG.n_fft // 2
    assert wave[: 8 * CONFIG.hop_length].abs().max() > 0
    assert wave[last:].abs().max() == 0
    # The slope of the window, not a step: the end of the reach is far quieter than its middle.
    assert wave[last - 32 : last].abs().max() < 0.05 * wave[last - 512 : last - 256].abs().max()


def test_one_audible_bin_keeps_a_frame():
    mel = torch.full((1, 100, 6), CONFIG.floor)
    mel[0, 50] = -3.0
    with torch.no_grad():
        assert small()(mel).abs().max() > 0


def test_every_bin_is_shared_out_once():
    """A flat magnitude comes back from its mel; bins without a filter belong to the nearest one."""
    filters = LogMel(CONFIG).spectrogram.mel_scale.fb
    cover = cover_matrix(filters)
    assert cover.min() >= 0
    torch.testing.assert_close(cover.sum(1), torch.ones(len(filters)))
    flat = torch.full((len(filters),), 3.0)
    torch.testing.assert_close(cover @ ((filters.T @ flat) / filters.sum(0)), flat)
    sparse = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.5], [0.0, 0.0]])
    assert cover_matrix(sparse).argmax(1).tolist() == [0, 0, 0, 1, 1, 1]


def test_level_corrections_bring_the_mel_closer():
    """With an idle network: each round helps, a level that is 6 dB off is mended, and silence stays silent."""
    log_mel = LogMel()
    mel = log_mel(noise(1, 256 * 30))
    errors = []
    for rounds in (0, 1, 16):
        vocoder = small(level_corrections=rounds)
        torch.nn.init.zeros_(vocoder.head.out.weight)
        torch.nn.init.constant_(vocoder.head.out.bias[:513], -math.log(2))
        with torch.no_grad():
            errors.append((log_mel(vocoder(mel)) - mel).abs().mean())
            assert vocoder(torch.full_like(mel, CONFIG.floor)).abs().max() == 0
            assert vocoder(mel[..., :2]).shape == (1, 256)
    assert errors[2] < 0.5 * errors[1] < 0.25 * errors[0]


def test_a_clip_is_the_same_alone_and_in_a_batch():
    vocoder = small(level_corrections=2)
    mel = LogMel()(noise(3, 256 * 10))
    with torch.no_grad():
        torch.testing.assert_close(vocoder(mel)[1:2], vocoder(mel[1:2]), atol=1e-6, rtol=1e-5)


def test_skip_carries_the_level():
    """With an idle network the wave follows the mel's level: ln 2 more on every bin doubles the wave."""
    vocoder = small()
    torch.nn.init.zeros_(vocoder.head.out.weight)
    mel = LogMel()(noise(1, 256 * 20)) - 2
    with torch.no_grad():
        torch.testing.assert_close(vocoder(mel + math.log(2)), 2 * vocoder(mel))


def test_half_precision_autocast_reaches_a_float_wave():
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert small()(noise(1, 100, 5)).dtype == torch.float32


def test_saved_and_loaded_vocoder_is_the_same(tmp_path):
    vocoder = small(level_corrections=1)
    vocoder.save_pretrained(tmp_path)
    loaded = load_vocoder(tmp_path, CONFIG)
    assert not loaded.training and loaded.mel_config == CONFIG
    mel = LogMel()(noise(1, 256 * 12))
    with torch.no_grad():
        expected = vocoder(mel)
        torch.testing.assert_close(loaded(mel), expected, rtol=0, atol=0)
        torch.testing.assert_close(BurstVocoder.from_pretrained(tmp_path)(mel), expected, rtol=0, atol=0)


def test_half_precision_file_rounds_the_weights_alone(tmp_path):
    vocoder = small(level_corrections=1)
    expected = small(level_corrections=1)
    for weight in expected.parameters():
        weight.data = weight.data.half().float()
    vocoder.half().save_pretrained(tmp_path)
    loaded = load_vocoder(tmp_path, CONFIG)
    assert loaded.dtype == torch.float32
    mel = LogMel()(noise(1, 256 * 12))
    with torch.no_grad():
        torch.testing.assert_close(loaded(mel), expected(mel), rtol=0, atol=0)


def write_public_layout(folder):
    """Fresh weights in the files of charactr/vocos-mel-24khz, and the package's own model of them."""
    from vocos import Vocos

    front = {"sample_rate": 24000, "n_fft": 1024, "hop_length": 256, "n_mels": 100, "padding": "center"}
    sizes = {"input_channels": 100, "dim": 16, "intermediate_dim": 32, "num_layers": 2}
    head = {"dim": 16, "n_fft": 1024, "hop_length": 256, "padding": "center"}
    parts = {
        "feature_extractor": ("vocos.feature_extractors.MelSpectrogramFeatures", front),
        "backbone": ("vocos.models.VocosBackbone", sizes),
        "head": ("vocos.heads.ISTFTHead", head),
    }
    config = {part: {"class_path": path, "init_args": values} for part, (path, values) in parts.items()}
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(1)
    model = Vocos.from_hparams(str(folder / "config.yaml")).eval()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return model


@pytest.mark.parametrize("safe", [False, True])
def test_public_layout_gives_the_same_wave_as_the_package(tmp_path, safe):
    theirs = write_public_layout(tmp_path)
    if safe:
        (tmp_path / "pytorch_model.bin").unlink()
        save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    wave = noise(1, 256 * 20)
    torch.testing.assert_close(LogMel()(wave), theirs.feature_extractor(wave))
    with torch.no_grad():
        torch.testing.assert_close(load_vocoder(tmp_path, CONFIG)(LogMel()(wave)), theirs(wave))


class Payload:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def cut(path, keep=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def damage_code(folder):
    write_public_layout(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"backbone": Payload(folder / "executed")}))


def damage_code_in_zip(folder):
    write_public_layout(folder)
    torch.save({"backbone": Payload(folder / "executed")}, folder / "pytorch_model.bin")


def damage_cut_bin(folder):
    write_public_layout(folder)
    cut(folder / "pytorch_model.bin")


def damage_empty_bin(folder):
    write_public_layout(folder)
    cut(folder / "pytorch_model.bin", 0)


def damage_no_bin(folder):
    write_public_layout(folder)
    (folder / "pytorch_model.bin").unlink()


def damage_yaml_class(folder):
    write_public_layout(folder)
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("vocos.heads.ISTFTHead", "os.system"))


def damage_yaml_hop(folder):
    write_public_layout(folder)
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("hop_length: 256", "hop_length: 320"))


def damage_cut_safetensors(folder):
    small().save_pretrained(folder)
    cut(folder / "diffusion_pytorch_model.safetensors")


def damage_no_safetensors(folder):
    small().save_pretrained(folder)
    (folder / "diffusion_pytorch_model.safetensors").unlink()


def damage_cut_json(folder):
    small().save_pretrained(folder)
    cut(folder / "config.json")


def damage_no_mel(folder):
    small().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["mel"]
    (folder / "config.json").write_text(json.dumps(config))


def damage_other_size(folder):
    small().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text()) | {"num_layers": 3}
    (folder / "config.json").write_text(json.dumps(config))


def damage_other_mel(folder):
    small(mel=MelConfig(hop_length=320).to_dict()).save_pretrained(folder)


def damage_empty_folder(folder):
    folder.mkdir()


def damage_no_folder(folder):
    pass


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_code, "could run code"),
        (damage_code_in_zip, "could run code"),
        (damage_cut_bin, "damaged"),
        (damage_empty_bin, "damaged"),
        (damage_no_bin, "pytorch_model.bin: the weights are missing"),
        (damage_yaml_class, "expected a mel Vocos"),
        (damage_yaml_hop, "hop_length 320 instead of 256"),
        (damage_cut_safetensors, "damaged or cut short"),
        (damage_no_safetensors, "the weights are missing"),
        (damage_cut_json, "not the configuration of a vocoder"),
        (damage_no_mel, "not the configuration of a vocoder .*mel"),
        (damage_other_size, "do not fit the configuration"),
        (damage_other_mel, "hop_length 320 instead of 256"),
        (damage_empty_folder, "expected config.json or config.yaml"),
        (damage_no_folder, "found no such folder"),
    ],
)
def test_a_damaged_vocoder_is_one_sentence(tmp_path, damage, message):
    folder = tmp_path / "vocoder"
    damage(folder)
    with pytest.raises(MissingModelError, match=message) as caught:
        load_vocoder(folder, CONFIG)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    assert not (folder / "executed").exists()


def test_distance_of_equal_waves_is_zero_and_of_doubled_ones_is_one_and_ln_2():
    wave = noise(2, 6000)
    assert sum(multi_resolution_stft(wave, wave)) == 0
    convergence, log_magnitude = multi_resolution_stft(2 * wave, wave)
    assert convergence == pytest.approx(1, abs=1e-5)
    assert log_magnitude == pytest.approx(math.log(2), abs=1e-4)
    convergence, log_magnitude = multi_resolution_stft(wave, 2 * wave)
    assert convergence == pytest.approx(0.5, abs=1e-5)
    assert log_magnitude == pytest.approx(math.log(2), abs=1e-4)


def test_magnitude_is_that_of_the_definition():
    """Frame t is the Hann-weighted transform of the samples around t * hop, zeros outside the wave."""
    wave, n_fft, hop = noise(1, 1000).double().numpy()[0], 256, 64
    padded = np.pad(wave, n_fft // 2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    frames = [padded[start : start + n_fft] * window for start in range(0, len(padded) - n_fft + 1, hop)]
    expected = np.maximum(np.abs(np.fft.rfft(frames)).T, MAGNITUDE_FLOOR)
    magnitude = stft_magnitude(torch.from_numpy(wave)[None], n_fft, hop)[0].numpy()
    np.testing.assert_allclose(magnitude, expected, atol=2e-4)


def test_every_clip_of_a_batch_counts_alike():
    """A loud clip must not drown a quiet one: the distance of a batch is the mean of its clips' distances."""
    wave = noise(2, 4096) * torch.tensor([[1.0], [0.01]])
    made = noise(2, 4096, seed=1) * torch.tensor([[0.2], [0.03]])
    together = sum(multi_resolution_stft(made, wave))
    alone = [sum(multi_resolution_stft(made[i : i + 1], wave[i : i + 1])) for i in range(2)]
    assert together == pytest.approx((alone[0] + alone[1]) / 2)


def test_silence_gives_finite_losses_and_gradients():
    silent = torch.zeros(1, 4096)
    made = torch.zeros(1, 4096, requires_grad=True)
    loss = sum(multi_resolution_stft(made, silent))
    loss.backward()
    assert loss == 0 and torch.isfinite(made.grad).all()


def test_discriminators_have_the_sizes_asked_for():
    narrow = Discriminators(periods=(2, 3), period_divisor=8, fft_sizes=(512,), resolution_channels=4)
    sizes = [conv.out_channels for conv in narrow.multi_period.discriminators[0].convs]
    assert sizes == [4, 16, 64, 128, 128]
    assert narrow.multi_resolution.discriminators[0].conv_post.in_channels == 4
    full = Discriminators(periods=(2,), fft_sizes=())
    sizes = [conv.out_channels for conv in full.multi_period.discriminators[0].convs]
    assert sizes == [32, 128, 512, 1024, 1024]
    wave, made = noise(2, 2048), noise(2, 2048, seed=1)
    assert [len(verdict.scores) for verdict in narrow(wave, made)] == [2, 1]
    assert [
        len(verdict.scores) for verdict in Discriminators(periods=(), fft_sizes=(512, 256))(wave, made)
    ] == [2]


def test_discriminators_judge_both_waves_as_the_package_judges_each():
    torch.manual_seed(0)
    ours = Discriminators(periods=(2, 3), period_divisor=16, fft_sizes=(512,), resolution_channels=4)
    wave, made = noise(2, 2048), noise(2, 2048, seed=1)
    with torch.no_grad():
        verdicts = ours(wave, made)
        theirs = [family(wave, made) for family in (ours.multi_period, ours.multi_resolution)]
    for verdict, (scores, scores_hat, features, features_hat) in zip(verdicts, theirs, strict=True):
        torch.testing.assert_close(verdict.scores, scores)
        torch.testing.assert_close(verdict.scores_hat, scores_hat)
        torch.testing.assert_close(verdict.features, features)
        torch.testing.assert_close(verdict.features_hat, features_hat)


def test_hinge_and_matching_losses_by_hand():
    def verdict(weight, real, made):
        one = lambda value: [torch.full((2, 3), float(value))]  # noqa: E731
        return Verdict(weight, one(real), one(made), [one(1.0)], [one(1.5)])

    verdicts = [verdict(1.0, 0.25, -0.5), verdict(0.1, 2.0, 3.0)]
    # max(0, 1 - real) + max(0, 1 + made): 0.75 + 0.5 and 0 + 4, weighted.
    assert discriminator_loss(verdicts) == pytest.approx(1.25 + 0.1 * 4)
    adversarial, matching = generator_losses(verdicts)
    assert adversarial == pytest.approx(1.5 + 0)
    assert matching == pytest.approx(0.5 * 1.1)


def test_family_loss_is_the_mean_over_its_members():
    scores = [torch.zeros(1, 4)]
    one = Verdict(1.0, scores, scores, [], [])
    three = Verdict(1.0, scores * 3, scores * 3, [], [])
    assert discriminator_loss([one]) == discriminator_loss([three]) == 2

"""The networks of the LoopQ solution and END2YOU: sizes at every stage, what padding may not do, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import synthetic_burst
from recogniser_fixtures import tone

from vocalburst.eval.emo18 import RATE
from vocalburst.eval.recogniser import pad_features
from vocalburst.eval.recognition.cnnatt import AveragedAttention
from vocalburst.eval.recognition.front_end import (
    HOP,
    N_MELS,
    RANGE_DB,
    WINDOW,
    MelSpectrogram,
    Mfcc,
    fixed,
    prepared,
)
from vocalburst.eval.recognition.lflb import Lflb, Standard, as_image
from vocalburst.eval.recognition.registry import build, model_class
from vocalburst.gen.data.audio import SAMPLE_RATE
from vocalburst.gen.data.errors import InputDataError

NETWORKS = ("end2you", "cnnlstm", "fcmfcc", "cnnatt")


# --- front end -------------------------------------------------------------------------


def test_five_seconds_are_313_frames():
    wave = torch.randn(2, 5 * RATE)
    assert MelSpectrogram()(wave).shape == (2, 128, 313)
    assert Mfcc()(wave).shape == (2, 40, 313)


@pytest.mark.parametrize("length", [1, HOP - 1, HOP, WINDOW, 9999])
def test_frames_of_any_length(length):
    assert MelSpectrogram()(torch.randn(1, length)).shape == (1, N_MELS, length // HOP + 1)


def test_mel_against_its_definition():
    """One frame by hand: Hann window, power, Slaney's triangles of area one, decibels cut at the maximum."""
    wave = torch.randn(4000, dtype=torch.float64)
    mel = MelSpectrogram()(wave.float()[None])[0].numpy()
    padded = np.pad(wave.numpy(), WINDOW // 2)
    frame = padded[5 * HOP : 5 * HOP + WINDOW] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW))
    power = np.abs(np.fft.rfft(frame)) ** 2
    edges = slaney_hertz(np.linspace(0, slaney_mel(8000.0), N_MELS + 2))
    hertz = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    for m in (0, 40, 127):
        left, top, right = edges[m : m + 3]
        triangle = np.clip(
            np.minimum((hertz - left) / (top - left), (right - hertz) / (right - top)), 0, None
        )
        energy = float(power @ triangle) * 2 / (right - left)
        assert mel[m, 5] == pytest.approx(max(10 * math.log10(energy), mel.max() - RANGE_DB), abs=1e-2)


def slaney_mel(hertz: float) -> float:
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def slaney_hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def test_mfcc_is_the_orthonormal_cosine_transform_of_mel():
    wave = torch.randn(1, 6000)
    mel, mfcc = MelSpectrogram()(wave)[0].double(), Mfcc()(wave)[0]
    assert float(mfcc[0, 3]) == pytest.approx(float(mel[:, 3].sum()) / math.sqrt(N_MELS), abs=1e-2)
    k = 7
    row = torch.cos(math.pi * k * (torch.arange(N_MELS).double() + 0.5) / N_MELS) * math.sqrt(2 / N_MELS)
    assert float(mfcc[k, 3]) == pytest.approx(float(row @ mel[:, 3]), abs=1e-2)


def test_a_loud_clip_does_not_cut_the_quiet_one_beside_it():
    quiet = 1e-4 * torch.randn(1, 8000)
    both = MelSpectrogram()(torch.cat([quiet, 1e3 * quiet]))
    torch.testing.assert_close(both[:1], MelSpectrogram()(quiet))
    torch.testing.assert_close(both[1] - both[0], torch.full_like(both[0], 60.0), atol=1e-2, rtol=0)


def test_only_trailing_silence_goes():
    burst = synthetic_burst(3, seconds=0.5)
    silence = np.zeros(SAMPLE_RATE // 2, np.float32)
    whole = prepared(np.concatenate([silence, burst, silence, silence]))
    assert RATE * 0.9 < len(whole) <= RATE * 1.0
    assert float(whole[: RATE // 4].abs().max()) < 1e-3
    click = np.zeros(SAMPLE_RATE, np.float32)
    click[100] = 1
    assert len(prepared(click)) == WINDOW


def test_fixed_cuts_and_continues():
    wave = torch.arange(1.0, 9.0)
    assert fixed(wave, 5 / RATE).tolist() == [1, 2, 3, 4, 5]
    assert fixed(wave, 10 / RATE).tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 0, 0]


def test_waves_that_are_no_burst():
    with pytest.raises(InputDataError) as raised:
        prepared(np.ones(1200, np.float32))
    assert str(raised.value) == "a wave of 50 ms is shorter than one window of 64 ms"
    with pytest.raises(InputDataError) as raised:
        prepared(np.zeros(24_000, np.float32))
    assert str(raised.value) == "a wave of 24000 samples is silent; there is no burst to recognise"
    with pytest.raises(InputDataError) as raised:
        build("end2you", "avb-two").features(np.ones(2000, np.float32))
    assert str(raised.value) == "a wave of 83 ms is shorter than one frame of 100 ms"


# --- sizes -------------------------------------------------------------------------------


def stages(body: torch.nn.Module, x: torch.Tensor, lengths: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """Sizes, without that of the batch, of what every named part gives."""
    sizes, hooks = {}, []
    for name, part in body.named_modules():

        def note(_, __, output, name=name):
            output = output[0] if isinstance(output, tuple) else output
            sizes[name] = tuple(output.shape[1:])

        hooks.append(part.register_forward_hook(note))
    with torch.no_grad():
        body.eval()(x, lengths)
    for hook in hooks:
        hook.remove()
    return sizes


def kernels(body: torch.nn.Module) -> list[tuple[int, ...]]:
    return [tuple(part.weight.shape) for part in body.modules() if isinstance(part, torch.nn.Conv2d)]


def test_cnnlstm_sizes():
    body = build("cnnlstm", "loopq").build_body()
    sizes = stages(body, torch.randn(2, 128, 313), torch.tensor([313, 313]))
    expected = [(32, 64, 156), (48, 32, 78), (64, 16, 39), (128, 4, 9), (256, 1, 2)]
    assert [sizes[f"blocks.{i}"] for i in range(5)] == expected
    assert sizes["blocks.0.conv"] == (32, 128, 313)
    assert sizes["rnn"] == (2, 256) and sizes[""] == (256,) and body.dim == 256
    assert body.rnn.num_layers == 2 and body.rnn.dropout > 0
    channels = (1, 32, 48, 64, 128, 256)
    assert kernels(body) == [(channels[i + 1], channels[i], 3, 3) for i in range(5)]


def test_fcmfcc_sizes():
    body = build("fcmfcc", "loopq").build_body()
    sizes = stages(body, torch.randn(2, 40, 313), torch.tensor([313, 313]))
    assert [sizes[f"paths.{i}"] for i in range(3)] == [(32, 20, 156)] * 3
    expected = [(64, 10, 78), (96, 5, 39), (128, 2, 39), (160, 1, 39), (320, 1, 1)]
    assert [sizes[f"blocks.{i}"] for i in range(5)] == expected
    assert sizes[""] == (320,) and body.dim == 320
    assert kernels(body)[:3] == [(32, 1, 3, 3), (32, 1, 9, 1), (32, 1, 1, 11)]
    channels = (96, 64, 96, 128, 160, 320)
    assert kernels(body)[3:] == [(channels[i + 1], channels[i], 3, 3) for i in range(5)]


@pytest.mark.parametrize("frames", [313, 121, 5])
def test_cnnatt_sizes(frames):
    body = build("cnnatt", "loopq").build_body()
    sizes = stages(body, torch.randn(2, 40, frames), torch.tensor([frames, frames]))
    assert [sizes[f"paths.{i}"] for i in range(2)] == [(8, 40, frames)] * 2
    expected = [(32, 20, frames // 2), *[(c, 10, frames // 4) for c in (48, 64, 80)]]
    assert [sizes[f"blocks.{i}"] for i in range(4)] == expected
    assert sizes["attention"] == (128,) and sizes[""] == (128,) and body.dim == 128
    assert kernels(body)[:2] == [(8, 1, 11, 3), (8, 1, 3, 9)]
    assert all(kernel[2:] == (3, 3) for kernel in kernels(body)[2:])


def test_attention_against_its_formula():
    """Three heads of softmax(K Q^T / sqrt(d)) V, averaged, then the mean over places."""
    torch.manual_seed(0)
    attention = AveragedAttention(6, 4, heads=3)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 6, 11)
    for clip, came in zip(x, attention(x, torch.tensor([11, 11])), strict=True):
        heads = []
        for w_q, w_k, w_v in zip(attention.query, attention.key, attention.value, strict=True):
            q, k, v = w_q @ clip, w_k @ clip, w_v @ clip  # [O, S] each
            heads.append(torch.softmax(k @ q.T / math.sqrt(6), dim=1) @ v)
        assert heads[0].shape == (4, 11)
        torch.testing.assert_close(came, torch.stack(heads).mean(dim=0).mean(dim=1))


def test_lflb_against_torchs_layers():
    block = Lflb(2, 3, (9, 1), torch.nn.MaxPool2d(2)).eval()
    block.norm.running_mean.normal_()
    x = torch.randn(2, 2, 10, 12)
    expected = torch.nn.functional.conv2d(x, block.conv.weight, padding=(4, 0))
    expected = torch.nn.functional.max_pool2d(block.norm(expected).relu(), 2)
    torch.testing.assert_close(block(x), expected)
    assert expected.shape == (2, 3, 5, 6)


def test_standard_and_image():
    standard = Standard(3)
    clips = [torch.randn(3, 50 + k) * torch.tensor([[2.0], [0.0], [5.0]]) + 7 for k in range(4)]
    standard.fit(clips)
    rows = torch.cat([standard(clip[None])[0] for clip in clips], dim=1)
    torch.testing.assert_close(rows.mean(dim=1), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(rows.std(dim=1), torch.tensor([1.0, 0.0, 1.0]), atol=1e-4, rtol=0)
    image = as_image(torch.arange(6.0).view(1, 2, 3).expand(2, 2, 3))
    assert image.shape == (2, 1, 2, 3) and image[1, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    convolved = torch.nn.functional.conv2d(image, torch.randn(4, 1, 3, 3), padding=1)
    assert convolved.is_contiguous(memory_format=torch.channels_last)


# --- padding and gradients ---------------------------------------------------------------


def unsettled(name: str):
    """A network in evaluation mode whose norms would leak into padding if nothing masked it."""
    model = build(name, "avb-type")
    network = model.new_network()
    generator = torch.Generator().manual_seed(0)
    for key, value in network.state_dict().items():
        if key.endswith(("running_mean", "norm.bias", "standard.mean")):
            value.normal_(std=0.5, generator=generator)
    return model, network.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_padding_changes_nothing(name):
    model, network = unsettled(name)
    clips = [model.features(tone(300 + 100 * k, 0.3 + 0.17 * k, seed=k)) for k in range(3)]
    x, lengths = pad_features(clips)
    x = x + 50 * (torch.arange(x.shape[-1]) >= lengths[:, None]).view(3, *[1] * (x.ndim - 2), -1)
    with torch.no_grad():
        together = network(x, lengths)[0]
        alone = torch.cat([network(clip[None], torch.tensor([clip.shape[-1]]))[0] for clip in clips])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert float((together[0] - together[1]).abs().max()) > 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_reach_every_parameter_in_one_group(name):
    model = build(name, "exvo-multitask")
    network = model.new_network().train()
    clips = [model.features(tone(250 + 90 * k, 0.4, seed=k)) for k in range(4)]
    model.fit_scale(network.body, clips)
    y = torch.tensor([[0.1 * k] * 10 + [20.0 + k, k] for k in range(4)], dtype=torch.float64)
    model.loss(network, network(*pad_features(clips))[1], y, None).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key
    listed = [id(p) for group in model.parameter_groups(network) for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in network.parameters())


# --- recipes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "optimizer", "weight_decay", "rho", "patience", "epochs", "batch_size"),
    [
        ("cnnlstm", "adam", 0, 2, 5, 100, 64),
        ("fcmfcc", "adamw", 1e-6, 10, 10, 150, 64),
        ("cnnatt", "adamw", 1e-7, 10, 20, 200, 32),
        ("end2you", "adam", 0, 10, 30, 30, 8),
    ],
)
def test_recipes_are_those_of_the_papers(name, optimizer, weight_decay, rho, patience, epochs, batch_size):
    """Table 3 of the LoopQ solution; the released command of A-VB 2022, which never divides its rate."""
    s = model_class(name).settings_class()
    assert (s.optimizer, s.weight_decay, s.rho, s.patience) == (optimizer, weight_decay, rho, patience)
    assert (s.lr, s.epochs, s.batch_size, s.schedule) == (1e-4, epochs, batch_size, "plateau")


def test_weight_decay_of_fcmfcc_is_of_the_feature_learning_part_alone():
    model = build("fcmfcc", "loopq")
    network = model.new_network()
    decayed, plain = model.parameter_groups(network)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (1e-6, 0)
    assert [id(p) for p in decayed["params"]] == [id(p) for p in network.body.blocks.parameters()]


def test_end2you_changes_its_clips_as_asked_and_mixes_none():
    wave = torch.from_numpy(tone(300, 0.5)).half()
    plain, changed = build("end2you", "avb-two"), build("end2you", "avb-two", augmentation={"max_crop": 800})
    kept = plain.augment(wave, np.random.default_rng(0))
    torch.testing.assert_close(
        kept / kept.max(), wave.float() / wave.float().max()
    )  # the level is of no account
    assert len(changed.augment(wave, np.random.default_rng(0))) < len(wave)
    with pytest.raises(InputDataError, match=r"settings of end2you: augmentation: .*mixup_alpha"):
        build("end2you", "avb-two", augmentation={"mixup_alpha": 0.2})

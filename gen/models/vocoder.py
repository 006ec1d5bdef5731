"""The vocoder: from a log-mel spectrogram to one complex spectrum per frame, then an inverse STFT to a wave.

Vocos (Siuzdak 2024, "Vocos: Closing the gap between time-domain and Fourier-based neural vocoders"): backbone
and head come from the `vocos` package. Shape letters: B batch, M mel bin, T mel frame, F STFT bin,
H hidden channel.
"""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path

import torch
import yaml
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config

from vocalburst.gen.data.errors import MissingModelError
from vocalburst.gen.data.mel import LogMel, MelConfig
from vocalburst.gen.models.pulses import pitch, pulse_spectrum
from vocalburst.gen.models.spectrum import inverse_stft, magnitude, window_envelope

# A frame whose every bin lies within this of the log floor is digital silence (the floor is -140 dB).
SILENCE_MARGIN = 0.1
# Natural log of the largest factor of one level correction, 20 dB.
MAX_CORRECTION = 2.3
# Corrections before the pitch is read off the wave, so that it is that of the mel.
BEFORE_PULSES = 4


class BurstVocoder(ModelMixin, ConfigMixin):
    """mel [B, M, T] -> wave [B, (T - 1) * hop_length].

    dim, intermediate_dim, num_layers: channels, inner channels and number of the ConvNeXt blocks.
    mel: `MelConfig.to_dict()` of the front end the weights were trained for; None takes the default one.
    magnitude_skip: let the network predict a factor on the magnitude that the mel itself suggests. The layer
    norm behind the first convolution takes the level away, and learning to restore it exactly costs a plain
    Vocos (False, as in the public weights) many steps.
    level_corrections: how often the wave's own mel is compared with the one asked for, and every region of its
    spectrum scaled by the ratio. Each costs one STFT and its inverse; 0 for the public weights.
    pulses: after the first `BEFORE_PULSES` corrections, give voiced frames the phases of a voice (`pulses`). Not while
    training: the network is to learn its own.
    """

    @register_to_config
    def __init__(
        self,
        dim: int = 512,
        intermediate_dim: int = 1536,
        num_layers: int = 8,
        mel: dict | None = None,
        magnitude_skip: bool = False,
        level_corrections: int = 0,
        pulses: bool = False,
    ):
        super().__init__()
        # Here, not above: vocos imports encodec, which takes seconds.
        from vocos.heads import ISTFTHead
        from vocos.models import VocosBackbone

        self.register_to_config(mel=MelConfig().to_dict() if mel is None else dict(mel))
        front = self.mel_config
        self.backbone = VocosBackbone(front.n_mels, dim, intermediate_dim, num_layers)
        self.head = ISTFTHead(dim, front.n_fft, front.hop_length, padding="center")
        # The package's own ceiling would clip loud tones: a full-scale sine reads n_fft / 4.
        self.max_magnitude = front.n_fft / 2 if magnitude_skip else 1e2
        filters = LogMel(front).spectrogram.mel_scale.fb  # [F, M]
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("cover", cover_matrix(filters), persistent=False)

    @property
    def mel_config(self) -> MelConfig:
        return MelConfig.from_dict(self.config.mel)

    def forward(self, mel: torch.Tensor, corrections: int | None = None) -> torch.Tensor:
        """mel: natural log of the mel magnitude [B, M, T], T >= 2. Frames at the floor come out silent.

        corrections: instead of the configured number, fewer while training.
        A silent frame's spectrum is set to zero, so the edge of the silence is the window's own slope.
        """
        rounds = self.config.level_corrections if corrections is None else corrections
        wave = self._uncorrected(mel)
        with torch.autocast(mel.device.type, enabled=False):
            mel = mel.float()
            if self.config.pulses and not self.training and self._framed(wave):
                before = min(BEFORE_PULSES, rounds)
                wave = self._in_step(self._correct(wave, mel, before))
                rounds -= before
            return self._correct(wave, mel, rounds)

    def periodicity(self, mel: torch.Tensor) -> torch.Tensor:
        """mel [B, M, T] -> [B, T], about 0..1: how voiced each frame is, by `pulses.pitch` of the network's wave."""
        front = self.mel_config
        return pitch(self._uncorrected(mel), front.n_fft, front.hop_length, front.sample_rate)[1]

    def _uncorrected(self, mel: torch.Tensor) -> torch.Tensor:
        """The network's own wave."""
        if mel.ndim != 3 or mel.shape[1] != self.backbone.input_channels or mel.shape[2] < 2:
            raise ValueError(
                f"expected a mel of shape [B, {self.backbone.input_channels}, T >= 2], got {tuple(mel.shape)}"
            )
        hidden = self.backbone(mel)  # [B, T, H]
        # The inverse STFT has no half-precision kernels, and exp() of the log magnitude needs the range.
        with torch.autocast(mel.device.type, enabled=False):
            output = self.head.out(hidden.to(self.head.out.weight.dtype)).float().transpose(1, 2)
            log_magnitude, phase = output.chunk(2, dim=1)
            mel = mel.float()
            audible = (mel > self.mel_config.floor + SILENCE_MARGIN).any(dim=1, keepdim=True)
            if self.config.magnitude_skip:
                widths = self.filters.float().sum(0).clamp(min=1e-8)[:, None]  # [M, 1], in bins
                log_magnitude = log_magnitude + (self.cover.float() @ (mel.exp() / widths)).log()
            magnitudes = log_magnitude.exp().clamp(max=self.max_magnitude) * audible
            return self.head.istft(torch.polar(magnitudes, phase))

    def _framed(self, wave: torch.Tensor) -> bool:
        """Whether `wave` is long enough for the front end, which mirrors half a window at the edges."""
        return wave.shape[-1] > self.mel_config.n_fft // 2

    def _in_step(self, wave: torch.Tensor) -> torch.Tensor:
        front, window = self.mel_config, self.head.istft.window.float()
        spectrum = torch.stft(wave, front.n_fft, front.hop_length, window=window, return_complex=True)
        return self.head.istft(pulse_spectrum(wave, spectrum, window, front.hop_length, front.sample_rate))

    def _correct(self, wave: torch.Tensor, mel: torch.Tensor, rounds: int) -> torch.Tensor:
        """Bring the mel of `wave` closer to `mel`: overlapping frames disagree, so it is not yet that mel.

        Alternating projections as in Griffin and Lim 1984, but onto the mel alone: what the network made
        within each mel bin stays. The momentum i / (i + 3) is Nesterov's.
        """
        front = self.mel_config
        if not self._framed(wave):
            return wave
        filters, cover, window = self.filters.float(), self.cover.float(), self.head.istft.window.float()
        envelope = window_envelope(window, mel.shape[-1], front.hop_length)
        previous = None
        for i in range(rounds):
            spectrum = torch.stft(wave, front.n_fft, front.hop_length, window=window, return_complex=True)
            ahead = spectrum if previous is None else spectrum + i / (i + 3) * (spectrum - previous)
            previous = spectrum
            made = (filters.T @ magnitude(ahead)).clamp(min=front.log_floor).log()
            gain = (cover @ (mel - made)).clamp(-MAX_CORRECTION, MAX_CORRECTION).exp()
            wave = inverse_stft(ahead * gain, window, front.hop_length, envelope)
        return wave


def cover_matrix(filters: torch.Tensor) -> torch.Tensor:
    """filters [F, M] -> [F, M]: each STFT bin's share of every filter that covers it; rows sum to 1.

    A bin that no filter covers belongs to the one with the nearest peak.
    """
    shares = filters.clone()
    # A filter too narrow to hold a bin is nobody's nearest.
    peaks = torch.where(filters.sum(0) > 0, filters.argmax(0), -len(filters))  # [M], bin numbers
    for bin_number in (filters.sum(1) == 0).nonzero()[:, 0].tolist():
        shares[bin_number, (peaks - bin_number).abs().argmin()] = 1.0
    return shares / shares.sum(1, keepdim=True)


def load_vocoder(path_or_hub_id: str | Path, expected: MelConfig) -> BurstVocoder:
    """A vocoder in evaluation mode, float32, made for the front end `expected`.

    path_or_hub_id: a folder written by `BurstVocoder.save_pretrained`, a folder in the layout of
    `charactr/vocos-mel-24khz` (config.yaml and pytorch_model.bin or safetensors), or the hub id of either.
    Raises MissingModelError when it is missing, damaged, holds code, or has another mel config.
    """
    folder = _local_folder(str(path_or_hub_id))
    if (folder / "config.json").is_file():
        model = _load_own(folder)
    elif (folder / "config.yaml").is_file():
        model = _load_vocos(folder)
    else:
        raise MissingModelError(
            f"{folder}: no vocoder there, expected config.json or config.yaml in the folder"
        )
    expected.check_equal(model.mel_config, f"the vocoder {path_or_hub_id}")
    return model.eval()


def _local_folder(path_or_hub_id: str) -> Path:
    if Path(path_or_hub_id).is_dir():
        return Path(path_or_hub_id)
    if (
        Path(path_or_hub_id).exists()
        or path_or_hub_id.count("/") != 1
        or path_or_hub_id.startswith((".", "/", "~"))
    ):
        raise MissingModelError(
            f"{path_or_hub_id}: expected a vocoder folder or a hub id, found no such folder"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["config.json", "config.yaml", "*.safetensors", "pytorch_model.bin"]
    try:
        return Path(snapshot_download(path_or_hub_id, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        message = f"{path_or_hub_id}: neither a folder nor a model that the hub delivers ({reason})"
        raise MissingModelError(message) from None


def _load_own(folder: Path) -> BurstVocoder:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        names = ("dim", "intermediate_dim", "num_layers", "mel", "magnitude_skip", "level_corrections")
        sizes = {name: config[name] for name in names} | {"pulses": config.get("pulses", False)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = (
            f"{folder / 'config.json'}: not the configuration of a vocoder ({type(error).__name__}: {error})"
        )
        raise MissingModelError(message) from None
    state = _read_safetensors(folder / "diffusion_pytorch_model.safetensors")
    return _build(sizes, state, folder)


def _load_vocos(folder: Path) -> BurstVocoder:
    """The layout of the `vocos` package. Its YAML names classes; they are compared, never imported."""
    path = folder / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        names = [
            config[part]["class_path"].rsplit(".", 1)[-1]
            for part in ("feature_extractor", "backbone", "head")
        ]
        front, backbone, head = (
            config[part]["init_args"] for part in ("feature_extractor", "backbone", "head")
        )
        sizes = {key: int(backbone[key]) for key in ("dim", "intermediate_dim", "num_layers")}
        if names != ["MelSpectrogramFeatures", "VocosBackbone", "ISTFTHead"]:
            raise MissingModelError(f"{path}: expected a mel Vocos with an inverse STFT head, found {names}")
        if front.get("padding", "center") != "center" or head.get("padding", "same") != "center":
            raise MissingModelError(
                f"{path}: expected centred frames (padding: center) in the front end and the head"
            )
        if (head["n_fft"], head["hop_length"]) != (front["n_fft"], front["hop_length"]):
            raise MissingModelError(f"{path}: n_fft and hop_length differ between the front end and the head")
        mel = {key: int(front[key]) for key in ("sample_rate", "n_fft", "hop_length", "n_mels")}
    except (
        OSError,
        yaml.YAMLError,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
    ) as error:
        if isinstance(error, MissingModelError):
            raise
        message = f"{path}: not the configuration of a Vocos vocoder ({type(error).__name__}: {error})"
        raise MissingModelError(" ".join(message.split())) from None
    # The package clips the mel magnitude at 1e-7 in its own code, so its files do not say so.
    sizes["mel"] = MelConfig(**mel, log_floor=1e-7).to_dict()
    safe = sorted(folder.glob("*.safetensors"))
    state = _read_safetensors(safe[0]) if safe else _read_pickle(folder / "pytorch_model.bin")
    state = {key: value for key, value in state.items() if not key.startswith("feature_extractor.")}
    return _build(sizes, state, folder)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise MissingModelError(f"{path}: the weights are missing")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise MissingModelError(f"{path}: the weights are damaged or cut short ({error})") from None


def _read_pickle(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise MissingModelError(f"{path}: the weights are missing")
    try:
        with warnings.catch_warnings():  # torch asks for a bug report when a pickle is not one of its own
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        message = f"{path}: not plain weights (damaged, or a pickle that could run code), so it is refused"
        raise MissingModelError(message) from None
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingModelError(f"{path}: the weights are damaged or cut short ({reason})") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise MissingModelError(f"{path}: expected a dictionary of weights, found {type(state).__name__}")
    return state


def _build(sizes: dict, state: dict[str, torch.Tensor], folder: Path) -> BurstVocoder:
    try:
        model = BurstVocoder(**sizes)
        # The window follows from the configuration; a half-precision file would round it.
        constants = {"head.istft.window": model.head.istft.window}
        model.load_state_dict({key: value.float() for key, value in state.items()} | constants)
    except MissingModelError as error:
        raise MissingModelError(f"{folder}: {error}") from None
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MissingModelError(f"{folder}: the weights do not fit the configuration ({reason})") from None
    return model

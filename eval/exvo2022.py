"""The official distance of ExVo 2022, in the official space, for those who have the official weights.

Shape letters: N clips, D embedding.

`predictions_model_wav.pt` and `predictions_model_webm.pt` are two trainings of Emo18. Each makes a space of its
own, and a distance in one says nothing about a distance in the other: on real clips those of `webm` are about
half as large. Which one a number is in is taken from the names of the files and stands in every result.

The weights are not public everywhere, and no hash of them is published; results carry the hash of the file used.

S_GEN, (1/FID + HEEP)/2, needs what people heard in the clips, so it is not computed here. A small distance alone is
no success: real clips drawn without looking at their emotion have one (`emotion_blind`), and would beat the
organisers' S_GEN with a HEEP of 0.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from vocalburst.eval.clips import ClipSet
from vocalburst.eval.emo18 import DIM, Emo18, official_frames
from vocalburst.eval.exvo2022_scores import EmotionDistance, ExvoScores
from vocalburst.eval.exvo2022_statistics import PREPROCESSING, SPACES, read_official_folder, space_of
from vocalburst.eval.frechet import frechet_distance, frechet_infinity, frechet_interval
from vocalburst.eval.gaussian import GaussianStatistics, Identity, gaussian_statistics
from vocalburst.eval.official_audio import RATE, OfficialClip, official_clips
from vocalburst.eval.protocols import protocol_names
from vocalburst.eval.scores import Measure
from vocalburst.gen.data.emotions import EXVO_10
from vocalburst.gen.data.errors import InputDataError, MissingModelError

PROTOCOL = "exvo-10"
BATCH_SIZE = 32
MIN_EXTRAPOLATED = 8  # clips
# Names of the official state dict, in front of those of `Emo18`.
PREFIXES = {
    **{f"audio_model.model.network.{2 * i}.0.": f"blocks.{i}.conv." for i in range(3)},
    **{f"audio_model.model.network.{2 * i}.1.": f"blocks.{i}.norm." for i in range(3)},
    "rnn.rnn.": "rnn.",
}
UNUSED = "linear."  # the outputs, which no distance uses

Progress = Callable[[Iterable, int], Iterable]  # (items, how many) -> the same items


def weights_space(path: Path) -> str:
    """`wav` or `webm`, from the name of the weights. Raises InputDataError when it tells neither."""
    space = space_of(path)
    if space is None:
        ends = " or ".join(f"_{space}.pt" for space in SPACES)
        raise InputDataError(
            f"{path}: expected a name that ends in {ends}, which tells the space of the weights"
        )
    return space


def load_official(path: str | Path) -> Emo18:
    """The network of an official weights file, in evaluation mode.

    The file is a pickle; tensors in plain containers are read from it and nothing else is run. Raises
    MissingModelError when it is damaged, holds anything more, or holds another network.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingModelError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # a damaged or hostile pickle raises nearly anything, over many lines
        raise MissingModelError(
            f"{path}: is refused as weights; expected a PyTorch file of tensors only"
        ) from None
    state = content.get("model_state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise MissingModelError(f"{path}: expected a dict with tensors under model_state_dict")
    network = Emo18()
    tensors = {own_name(name): value for name, value in state.items() if not str(name).startswith(UNUSED)}
    expected = {name: value for name, value in network.state_dict().items() if not is_count(name)}
    for name, value in expected.items():
        if name not in tensors:
            raise MissingModelError(f"{path}: lacks the tensor {official_name(name)}")
        if tensors[name].shape != value.shape:
            shapes = f"{list(tensors[name].shape)}, expected {list(value.shape)}"
            raise MissingModelError(f"{path}: {official_name(name)} has the shape {shapes}")
    if other := sorted(str(name) for name in tensors if name not in expected and not is_count(name)):
        raise MissingModelError(f"{path}: holds {other[0]}, which is no part of Emo18")
    network.load_state_dict({name: tensors[name].float() for name in expected}, strict=False)
    return network.eval()


def own_name(name: str) -> str:
    """The name in `Emo18` of a tensor of the official state dict; one that it has no place for stays as it is."""
    for official, own in PREFIXES.items():
        if str(name).startswith(official):
            return own + name.removeprefix(official)
    return name


def official_name(name: str) -> str:
    """The name in the official state dict of a tensor of `Emo18`."""
    official, own = next((a, b) for a, b in PREFIXES.items() if name.startswith(b))
    return official + name.removeprefix(own)


def is_count(name: str) -> bool:
    """Batch norms count their training steps, which changes nothing."""
    return str(name).endswith("num_batches_tracked")


def official_embeddings(clips: Iterable[OfficialClip], network: Emo18) -> Iterator[tuple[int, np.ndarray]]:
    """(index, embedding [D]) of clips, a batch in memory at a time."""
    waiting: list[OfficialClip] = []

    def flush() -> Iterator[tuple[int, np.ndarray]]:
        with torch.no_grad():
            rows = (
                network([official_frames(torch.from_numpy(clip.wave)) for clip in waiting]).double().numpy()
            )
        yield from zip([clip.index for clip in waiting], rows, strict=True)
        waiting.clear()

    for clip in clips:
        waiting.append(clip)
        if len(waiting) == BATCH_SIZE:
            yield from flush()
    if waiting:
        yield from flush()


class Witness:
    """Passes clips on and keeps count of what the reader of a result should know about them."""

    def __init__(self) -> None:
        self.rates: dict[int, int] = {}
        self.stereo = self.silent = 0

    def watch(self, clips: Iterable[OfficialClip]) -> Iterator[OfficialClip]:
        for clip in clips:
            self.rates[clip.rate] = self.rates.get(clip.rate, 0) + 1
            self.stereo += clip.channels == 2
            self.silent += not clip.wave.any()
            yield clip

    def notes(self) -> Iterator[str]:
        for rate in sorted(set(self.rates) - {RATE}):
            yield f"{self.rates[rate]} clips at {rate} Hz were brought to {RATE} Hz by torchaudio's windowed sinc."
        if self.stereo:
            yield (
                f"{self.stereo} clips are stereo: the official code lays the two channels end to end, and so it is "
                "done here."
            )
        if self.silent:
            yield f"{self.silent} clips are digital silence, which the official code scores like any other clip."


def pooled(statistics: dict[str, GaussianStatistics]) -> GaussianStatistics:
    """Statistics of real clips of all emotions together: the mixture of theirs in equal shares."""
    means = np.stack([one.mean for one in statistics.values()])
    mean = means.mean(axis=0)
    spread = (means - mean).T @ (means - mean) / len(means)
    first = next(iter(statistics.values())).identity
    identity = Identity(first.evaluator, first.preprocessing, "pooled")
    return GaussianStatistics(
        None, mean, np.mean([one.cov for one in statistics.values()], axis=0) + spread, identity
    )


def score_exvo2022(
    clips: ClipSet, weights: Path, statistics: Path, *, seed: int = 0, progress: Progress | None = None
) -> ExvoScores:
    """Distance of each emotion's clips to the official statistics of that emotion, in the space of `weights`.

    weights: predictions_model_wav.pt or predictions_model_webm.pt; statistics: the folder of the organisers'
    *.pkl files. progress: (clips, how many) -> the same clips. Raises InputDataError when a clip cannot be read or
    an emotion has fewer than 2 clips, MissingModelError when the weights are not what they should be.
    """
    space = weights_space(Path(weights))
    references = read_official_folder(statistics, space)
    network = load_official(weights)
    answers = protocol_names(PROTOCOL, set(clips.emotions))
    asked = np.array([answers.get(emotion, "") for emotion in clips.emotions])
    if not (asked != "").any():
        raise InputDataError(
            f"{clips.label}: holds no clip of an emotion of ExVo 2022 ({', '.join(EXVO_10)})"
        )
    judged = clips.take(np.flatnonzero(asked != ""))
    asked = asked[asked != ""]
    witness, embeddings = Witness(), np.full((len(judged), DIM), np.nan)
    stream = official_clips(judged) if progress is None else progress(official_clips(judged), len(judged))
    for index, row in official_embeddings(witness.watch(stream), network):
        embeddings[index] = row
    identity = Identity(f"exvo2022-{space}", PREPROCESSING, "entry")
    blind = pooled(references)
    emotions = {
        emotion: emotion_distance(
            embeddings[asked == emotion], identity, references.get(emotion), blind, emotion, seed
        )
        for emotion in EXVO_10
        if (asked == emotion).any()
    }
    return ExvoScores(
        entry=clips.label,
        clips_sha256=judged.content_sha256,
        space=space,
        weights_sha256=hashlib.sha256(Path(weights).read_bytes()).hexdigest(),
        seed=seed,
        emotions=emotions,
        not_submitted=tuple(emotion for emotion in EXVO_10 if emotion not in emotions),
        notes=(*clips.notes, *mapping_notes(clips, answers), *witness.notes()),
    )


def emotion_distance(
    embeddings: np.ndarray,
    identity: Identity,
    reference: GaussianStatistics | None,
    blind: GaussianStatistics,
    emotion: str,
    seed: int,
) -> EmotionDistance:
    """Distances of the clips [N, D] of an emotion; nothing but n where there are no official statistics of it."""
    n = len(embeddings)
    if reference is None:
        return EmotionDistance(n=n, fid=None, fid_infinity=None, emotion_blind=None)
    try:
        fid = frechet_distance(gaussian_statistics(embeddings, identity), reference)
        low, high = frechet_interval(embeddings, identity, reference, seed=seed)
    except InputDataError as error:
        raise InputDataError(f"{emotion}: {error}") from None
    limit = (
        frechet_infinity(embeddings, identity, reference, seed=seed).value if n >= MIN_EXTRAPOLATED else None
    )
    return EmotionDistance(
        n=n,
        fid=Measure(value=fid, low=low, high=high),
        fid_infinity=limit,
        emotion_blind=frechet_distance(blind, reference),
    )


def mapping_notes(clips: ClipSet, answers: dict[str, str]) -> Iterator[str]:
    """What stood in for what, and what is not judged."""
    for emotion in EXVO_10:
        parts = sorted(name for name, meant in answers.items() if meant == emotion)
        if parts and parts != [emotion]:
            yield f"The official {emotion} is answered by clips made as {' and '.join(parts)}."
    others = sorted(set(clips.emotions) - set(answers))
    if others:
        n = sum(len(clips.of(emotion)) for emotion in others)
        yield f"{n} clips are not judged, since ExVo 2022 does not ask for their emotions: {', '.join(others)}."

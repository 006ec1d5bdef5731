"""Scores as `vocalburst evaluate` writes them, made up: a floor, an entry and the other controls in their order.

The numbers only have to be plausible and consistent: means are means of the emotions, S_GEN follows from FID
and HEEP by the formula.
"""

from __future__ import annotations

import hashlib

import numpy as np

from vocalburst.eval.s_gen import PROTOCOLS, s_gen
from vocalburst.eval.scores import (
    CONTROLS,
    MEASURES,
    CopyPair,
    EmotionScores,
    Entry,
    EvaluatorScores,
    Measure,
    Memorisation,
    Reference,
    Scores,
    SetScores,
    SGen,
    SGenTerms,
)
from vocalburst.gen.data.emotions import EMOGATOR_30

EMO18, LOGMEL = "emo18-1a2b3c4d5e6f", "logmel-08559624fdf2"
SPACES = {
    EMO18: "The space of an Emo18 network trained by this repository: not that of the published numbers.",
    LOGMEL: "The space of a log-mel network trained by this repository: comparable with nothing published.",
}
# (distance, HEEP, variety) of a set of clips; the entry's follow from its skill.
LEVELS = {
    "floor": (0.6, 0.24, 0.95),
    "copy-synthesis": (1.3, 0.23, 0.9),
    "emotion-blind": (5.2, 0.0, 0.8),
    "shuffled": (6.5, 0.0, 0.6),
    "silence": (38.0, 0.0, 0.0),
    "noise": (61.0, 0.0, 0.0),
}


def fake_hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def around(value: float, half: float) -> Measure:
    return Measure(value=value, low=value - half, high=value + half)


def emotion_scores(rng: np.random.Generator, level: tuple[float, float, float], n: int, scale: float):
    """One emotion of a set at `level`; distances are in units of `scale`, as spaces differ."""
    distance, heep, variety = level
    infinity = scale * distance * rng.uniform(0.6, 1.5)
    values = {
        "fid": infinity + scale * 120 / n,
        "fid_infinity": infinity,
        "kad": scale * distance * rng.uniform(0.5, 1.4) - 0.1,
        "kid": scale * distance * rng.uniform(0.5, 1.4) / 100,
        "precision": np.clip(variety * rng.uniform(0.8, 1.05), 0, 1),
        "recall": np.clip(variety * rng.uniform(0.7, 1.05), 0, 1),
        "density": variety * rng.uniform(0.8, 1.2),
        "coverage": np.clip(variety * rng.uniform(0.9, 1.05), 0, 1),
        "vendi": max(0.05, variety) * rng.uniform(0.9, 1.1),
        "heep": np.clip(heep + rng.normal(0, 0.04), -1, 1),
        "recognised": np.clip(0.033 + 0.7 * heep + rng.normal(0, 0.02), 0, 1),
    }
    halves = {"fid": 0.12, "fid_infinity": 0.2, "kad": 0.2, "kid": 0.2, "heep": 0.3}
    measures = {
        key: around(float(values[key]), abs(float(values[key])) * halves.get(key, 0.08)) for key in MEASURES
    }
    return EmotionScores(n=n, n_reference=n, measures=measures)


def protocol_scores(emotions: dict[str, EmotionScores], protocol: str, half: float) -> SGen:
    """S_GEN of the emotions that the protocol asks for."""
    listed = PROTOCOLS[protocol]
    columns = [
        {e: scores.measures[key].value for e, scores in emotions.items() if e in listed}
        for key in ("fid", "fid_infinity", "heep")
    ]
    plain, infinity = (s_gen(fid, columns[2], listed) for fid in columns[:2])
    return SGen(
        protocol=protocol,
        emotions={
            e: SGenTerms(fid=columns[0][e], fid_infinity=columns[1][e], heep=columns[2][e])
            for e in columns[0]
        },
        value=around(plain.value, half),
        available=around(plain.available, half),
        infinity=around(infinity.value, 3 * half),
        missing=plain.missing,
        fid_floor=plain.fid_floor,
    )


def set_scores(
    name: str, level, emotions, *, n: int, scale: float, seed: int, half: float, **more
) -> SetScores:
    rows = {
        emotion: emotion_scores(np.random.default_rng(hash_seed(seed, name, emotion)), level, n, scale)
        for emotion in emotions
    }
    mean = {
        key: around(float(np.mean([row.measures[key].value for row in rows.values()])), 0.02 * scale)
        for key in MEASURES
    }
    heep = around(level[1], 0.015)
    return SetScores(
        name=name,
        n=n * len(rows),
        resampled={"floor": "speakers", "copy-synthesis": "speakers", "emotion-blind": "speakers"}.get(
            name, "clips"
        ),
        emotions=rows,
        mean=mean,
        heep_column=heep,
        heep_overall=heep,
        s_gen=tuple(
            protocol_scores(rows, protocol, half)
            for protocol in ("emogator-30", "exvo-10")
            if set(rows) & set(PROTOCOLS[protocol])
        ),
        **more,
    )


def memorisation(name: str, suspicious: bool) -> Memorisation:
    pairs = tuple(
        CopyPair(
            clip=f"{name}/{k:03d}.wav", train_clip=f"{k:06d}-04-1", distance=0.1 + k, ratio=0.2, cosine=0.99
        )
        for k in range(1, 4)
    )
    return Memorisation(
        fld=12.5, fld_gap=-8.0 if suspicious else -0.2, fld_gap_real=around(0.1, 0.9),
        c_t=-9.0 if suspicious else -0.8, c_t_real=around(0.0, 1.9), copied=40 if suspicious else 1,
        chance=1e-9 if suspicious else 0.6, suspicious=suspicious, pairs=pairs,
    )  # fmt: skip


def build_scores(
    name: str = "ours",
    *,
    skill: float = 0.6,
    seed: int = 0,
    emotions: tuple[str, ...] = EMOGATOR_30,
    n: int = 100,
    evaluators: tuple[str, ...] = (EMO18, LOGMEL),
    half: float = 0.012,
    notes: tuple[str, ...] = (),
    suspicious: bool = False,
    selected_by: tuple[str, ...] = (),
    controls: tuple[str, ...] = tuple(CONTROLS),
) -> Scores:
    """A whole file. skill: 0 for the distance of emotion-blind clips, 1 for that of copy-synthesis."""
    heard = []
    for index, evaluator in enumerate(evaluators):
        scale = (1.0, 3.0)[index % 2]
        entry_level = tuple(
            (1 - skill) * blind + skill * copied
            for blind, copied in zip(LEVELS["emotion-blind"], LEVELS["copy-synthesis"], strict=True)
        )
        sets = [
            set_scores(
                "entry", entry_level, emotions, n=n, scale=scale, seed=hash_seed(name, seed, index), half=half,
                memorisation=memorisation(name, suspicious), notes=notes,
            )
        ]  # fmt: skip
        for control in controls:
            # What does not depend on the entry is the same in every file.
            own = name if control in ("shuffled", "silence", "noise") else ""
            sets.append(
                set_scores(
                    control,
                    LEVELS[control],
                    emotions,
                    n=n,
                    scale=scale,
                    seed=hash_seed(own, 0, index),
                    half=half,
                )
            )
        heard.append(
            EvaluatorScores(
                evaluator=evaluator, preprocessing="24 kHz, voice-active part, -23 dBFS", dim=256,
                space=SPACES.get(evaluator, "A space of its own."), real_heep=around(0.26, 0.02),
                real_recognised=around(0.2, 0.02), sets=tuple(sets),
            )
        )  # fmt: skip
    return Scores(
        package_version="0.1.0",
        command=f"vocalburst evaluate {name}/ --reference emogator:dev",
        created_utc="2026-11-24T21:00:00+00:00",
        seed=seed,
        entry=Entry(
            name=name, clips_sha256=fake_hash("clips", name, seed), n=n * len(emotions), selected_by=selected_by,
            checkpoint="aa2f460d75ff", settings={"steps": "10", "guidance": "4"},
        ),
        reference=Reference(name="emogator", split="dev", clips_sha256=fake_hash("dev"), n=4858, speakers=54),
        evaluators=tuple(heard),
    )  # fmt: skip


def hash_seed(*parts: object) -> int:
    return int(fake_hash(*parts)[:8], 16)

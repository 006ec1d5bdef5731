"""The README of a recogniser's folder, every number of it from the `training` section of its config.json."""

from __future__ import annotations

from vocalburst.eval.recogniser import Recogniser

CARD = """# {title}

Which of {n_emotions} emotions a vocal burst was meant to carry, and a {dim}-d embedding of bursts.
Used to judge generated clips (`vocalburst recognise`), never to train the generator.

* Dev recall, mean over {n_emotions} emotions (UAR): **{uar:.3f}**, 95 % interval over {n_speakers} speakers
  {low:.3f} to {high:.3f}; {n_dev} clips; chance {chance:.3f}.
* Data: EmoGator (Buhl 2022, arXiv 2301.00508), {n_train} clips of {n_train_speakers} train speakers; no dev
  speaker was trained on. Manifest sha256 `{manifest}`.
* Network: {parameters:.2f} M parameters, {epochs} epochs, seed {seed}; {minutes:.1f} minutes of one CPU core.
* Weights: averaged over the training, matrices float16; the resolved config is in `config.json`.

      python -m vocalburst.eval.train_recogniser --config {config} --manifest MANIFEST --out OUT

Limits: acted bursts from the web; the label is what the contributor *meant*, which listeners too often miss.
A recognition rate compares sets of clips with each other; it says nothing about what a person feels.

| emotion | dev recall in % |
|---|---|
{recalls}
"""


def render_card(model: Recogniser, report: dict, config_name: str) -> str:
    """The README of a checkpoint; `report` is the `training` section of its config.json."""
    low, high = report["dev_uar_interval"]
    return CARD.format(
        title=model.title,
        n_emotions=len(model.config.emotions),
        dim=model.dim,
        uar=report["dev_uar"],
        low=low,
        high=high,
        n_speakers=report["dev_speakers"],
        n_dev=report["dev_clips"],
        chance=1 / len(model.config.emotions),
        n_train=report["train_clips"],
        n_train_speakers=report["train_speakers"],
        manifest=report["manifest_sha256"],
        parameters=sum(p.numel() for p in model.parameters()) / 1e6,
        epochs=report["config"]["epochs"],
        seed=report["config"]["seed"],
        minutes=report["cpu_minutes"],
        config=f"configs/recogniser/{config_name}",
        recalls="\n".join(
            f"| {name} | {100 * recall:.1f} |" for name, recall in report["dev_recalls"].items()
        ),
    )

"""The README of a trained recognition model, every number of it from the `run` that its config.json records."""

from __future__ import annotations

from vocalburst.eval.printing import DASH
from vocalburst.eval.recognition.estimator import RecognitionModel
from vocalburst.eval.recognition.training_run import RUN, epochs_of

CARD = """# {title}

{task_title} (`{task}`). {source}

* **{measure} {value}** on {measured}; {chosen}.
* Trained on {train}. Labels sha256 `{labels}`.
* {parameters} parameters, {epochs}seed {seed}; {minutes:.1f} minutes of CPU.
* Settings: {settings}.

      vocalburst recognise predict CLIPS --model FOLDER --out predictions.csv
      vocalburst embed CLIPS --evaluator FOLDER --out clips.safetensors

Weights, settings and history are in `model.safetensors` and `config.json` beside this file.
Limits: labels say what was meant or heard, never what a person feels; numbers hold for clips like those above.
"""


def render_card(model: RecognitionModel) -> str:
    """The README of a model whose `training_` holds a run."""
    run = model.training_[RUN]
    own = run["identity"]
    return CARD.format(
        title=model.title,
        task_title=model.task.title,
        task=model.task_name,
        source=model.source,
        measure=model.task.headline,
        value=interval(run["scores"][0]),
        measured=clips_text(run["measured"]) + (f", chance {run['chance']:.3f}" if run["chance"] else ""),
        chosen=f"epochs and settings were chosen on {own['choose_on']}{refitted_text(run)}",
        train=clips_text(run["train"]),
        labels=own["labels_sha256"],
        parameters=f"{run['parameters']:,}",
        epochs=epochs_text(epochs_of(model), model.training_.get("best_epoch")),
        seed=model.seed,
        minutes=run["cpu_seconds"] / 60,
        settings=", ".join(f"{key} {value}" for key, value in own["settings"].items()) or "none",
    )


def epochs_text(epochs: int | None, best: int | None) -> str:
    """`8 epochs, of which the 6th was kept, `; nothing of a model without epochs."""
    if not epochs:
        return ""
    return f"{epochs} epochs{f' of which number {best} was kept' if best else ''}, "


def refitted_text(run: dict) -> str:
    """What a model that is fitted again has learned from, and what that makes of its number."""
    if not run["refitted"]:
        return ""
    if run["choose"] == run["measured"]:
        return ", and the model was fitted on them too: the number is no measure of it"
    return f", and the model was then fitted on these {run['choose']['clips']} clips too"


def clips_text(part: dict) -> str:
    """`4858 clips of 54 speakers (dev)`."""
    of = f" of {part['speakers']} speakers" if part["speakers"] else ""
    return f"{part['clips']} clips{of} ({part['split']})"


def interval(scores: dict) -> str:
    """`0.225, 95 % interval 0.206 to 0.245`; a dash where the number is undefined."""
    if scores["value"] is None:
        return DASH
    if scores["low"] is None:
        return f"{scores['value']:.3f}"
    return f"{scores['value']:.3f}, 95 % interval {scores['low']:.3f} to {scores['high']:.3f}"

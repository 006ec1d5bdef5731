"""What `generate` refuses: one sentence on stderr, an exit code that says of what kind, and nothing written."""

from pathlib import Path

import pytest
from generate_fixtures import (
    FAST,
    contents,
    generate_command,  # noqa: F401 (a fixture)
    sounds,
)


def test_another_run_in_the_folder(command):
    command("--emotion", "awe", "--n", 2, "--out", "x", *FAST)
    before = contents(Path("x"))
    code, _, err = command("--emotion", "awe", "--n", 3, "--out", "x", *FAST)
    assert (
        code == 3
        and err == "error: x holds another run (n 2 there, 3 here); choose another --out, or --overwrite\n"
    )
    assert contents(Path("x")) == before
    code, _, _ = command("--emotion", "fear", "--n", 1, "--out", "x", "--overwrite", *FAST)
    assert code == 0 and list(sounds(Path("x"))) == ["fear_0_00000.wav"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ("--emotion horror", 3, "'horror' is not one this model was trained on; nearest"),
        ("--emotion aww", 3, "unknown emotion 'aww'; nearest: awe"),
        ("--emotion awe:2", 3, "the weight of 'awe' must be in (0, 1]"),
        ("--emotion awe --n 0", 2, "--n: must be at least 1, got 0"),
        ("--emotion awe --n many", 2, "--n: expected a whole number, got 'many'"),
        ("--emotion awe --seed -1", 2, "--seed: must be at least 0"),
        ("--emotion awe --steps 0", 2, "--steps: must be at least 1"),
        ("--emotion awe --guidance nan", 2, "--guidance: expected a number, got 'nan'"),
        ("--emotion awe --intensity 1.5", 2, "--intensity: must be above 0 and at most 1"),
        ("--emotion awe --voice 5", 2, "--voice 5: this checkpoint has the voices 0 to 4"),
        ("--emotion awe --voice 1+5", 2, "--voice 5: this checkpoint has the voices 0 to 4"),
        ("--emotion awe --voice 1+1", 2, "--voice: expected two different voices, got '1+1'"),
        ("--emotion awe --voice 1+", 2, "--voice: expected a whole number, got ''"),
        ("--emotion awe --duration 100", 2, "--duration 100: this checkpoint makes 0.2 to 0.80 s"),
        ("--emotion awe --duration 0", 2, "--duration 0: this checkpoint makes"),
        ("--emotion awe --scheduler ddim", 2, "--scheduler ddim: unknown; known: euler, heun, dpm++"),
        ("--emotion awe --format mp3", 2, "--format: invalid choice: 'mp3'"),
        ("--emotion awe --raw --trim", 2, "cannot be combined with --trim"),
        ("--emotion awe --intensity 0.5:0.5", 2, "--intensity: expected two different ends, got '0.5:0.5'"),
        ("--emotion awe --intensity 0:1", 2, "--intensity: must be above 0 and at most 1, got 0"),
        ("--emotion awe --intensity 0.1:0.2:3", 2, "--intensity: expected a number, got '0.2:3'"),
        ("--emotion awe --positions 3", 2, "--positions belongs to a sweep"),
        ("--emotion awe --to fear", 2, "--to is the end of a sweep, which needs --from too"),
        ("--from awe", 2, "--from is the start of a sweep, which needs --to too"),
        ("--from awe --to fear --positions 1", 2, "--positions: must be at least 2, got 1"),
        ("--from awe --to fear --intensity 0.2:1", 2, "a sweep is over emotions (--from) or over --intensity"),
        ("--from awe --to awe", 2, "--from awe and --to awe are the same to this checkpoint"),
        ("--from awe --to horror", 3, "'horror' is not one this model was trained on"),
        ("--from awe --to fear --emotion awe", 2, "not allowed with argument"),
        ("--from awe --to fear --best-of 2", 2, "--best-of would break a sweep"),
        ("--emotion awe --best-of 1", 2, "--best-of: must be at least 2, got 1"),
        ("--emotion awe --selector logmel", 2, "--selector belongs to a choice, which needs --best-of"),
        ("--emotion awe --strength 0.5", 2, "--strength belongs to a variation, which needs --like"),
        ("--emotion awe --like file --strength 0", 2, "--strength: must be above 0 and at most 1, got 0"),
        ("--emotion awe --like file --duration 1", 2, "--like keeps the length of its clip"),
        ("--emotion awe --like file", 3, "file: cannot be read as audio"),
        ("--emotion awe --like none.wav", 3, "none.wav: cannot be read as audio (No such file or directory)"),
        ("--like file", 2, "one of the arguments --emotion"),
        ("--from-manifest m.jsonl --out x --best-of 2", 2, "--best-of cannot be combined with --from-manifest"),
        ("--emotion awe --all-emotions", 2, "not allowed with argument --emotion"),
        ("--n 3", 2, "one of the arguments --emotion --all-emotions --from --from-manifest is required"),
        ("--from-manifest m.jsonl --out x --steps 3", 2, "--steps cannot be combined with --from-manifest"),
        ("--from-manifest m.jsonl", 2, "--from-manifest needs --out"),
        ("--from-manifest x/m.jsonl --out x", 2, "--out must be another folder"),
        ("--from-manifest m.jsonl --out x", 3, "m.jsonl: cannot be read as a manifest of generated clips"),
        ("--from-manifest file --out x", 3, "file, line 1: not a clip made by generate"),
        ("--emotion awe --out file", 1, "file: "),
        ("--emotion awe --out file/x", 1, "file/x: Not a directory"),
        ("--emotion awe --checkpoint missing", 4, "missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_sentence(command, arguments, code, says):
    Path("file").write_text("not a manifest\n")
    extra = {"checkpoint": "missing"} if "--checkpoint" in arguments else {}
    ended, out, err = command(*arguments.split(), **extra)
    assert (ended, out) == (code, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and says in err
    assert [path.name for path in Path.cwd().iterdir()] == ["file"]


def test_a_device_that_is_not_there(command, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, _, err = command("--emotion", "awe", "--device", "cuda")
    assert code == 2 and err.startswith("error: --device cuda: ") and err.count("\n") == 1

"""The dependency rule: gen/data <- gen, gen/data <- eval, and no other way."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT

SOURCES = sorted(path for folder in ("gen", "eval", "tests") for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of what a file imports, at the top or inside functions; `from a import b` gives a, a.b."""
    package = ["vocalburst", *path.relative_to(ROOT).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(package[: len(package) - node.level + 1] + ([base] if base else []))
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


def ours(path: Path) -> set[str]:
    return {name for name in imported(path) if name.split(".")[0] == "vocalburst"}


def inside(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found
    return found


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_imports_are_found(tmp_path):
    """The reader sees every form of import; else the tests below would prove nothing."""
    path = ROOT / "gen" / "models" / "imagined.py"
    source = "import vocalburst.eval.a\nfrom ..data import b\ndef f():\n    from vocalburst.gen.c import d\n"
    real = Path.read_text
    try:
        Path.read_text = lambda self, **options: source if self == path else real(self, **options)
        names = imported(path)
    finally:
        Path.read_text = real
    assert {"vocalburst.eval.a", "vocalburst.gen.data.b", "vocalburst.gen.c", "vocalburst.gen.c.d"} <= names


def test_data_imports_nothing_else_of_ours():
    # A command module also imports the frame that turns errors into exit codes.
    edge = {"gen/data/prepare_command.py": ("vocalburst.gen.cli",)}
    for path in files("gen/data"):
        allowed = ("vocalburst.gen.data", *edge.get(label(path), ()))
        wrong = {name for name in ours(path) if not inside(name, *allowed)}
        assert wrong <= {"vocalburst", "vocalburst.gen"}, f"{label(path)} imports {sorted(wrong)}"


def test_eval_imports_nothing_of_the_generator():
    """What it may import of `gen` is about clips, commands and repeatable computing, and knows no model."""
    allowed = ("vocalburst.gen.data", "vocalburst.gen.cli", "vocalburst.gen.determinism")
    assert not ours(ROOT / "gen" / "determinism.py")
    for path in files("eval"):
        wrong = {name for name in ours(path) if not inside(name, "vocalburst.eval", *allowed)}
        assert not wrong, f"{label(path)} imports {sorted(wrong)}"


def test_gen_never_imports_eval():
    for path in files("gen"):
        assert not {name for name in ours(path) if inside(name, "vocalburst.eval")}, label(path)


def named(path: Path) -> set[str]:
    """What a file names in its strings, docstrings aside, as the table of commands does."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in prose)
    return {node.value for node in strings if isinstance(node.value, str) and "vocalburst.eval" in node.value}


def test_only_the_command_line_names_eval_and_only_to_import_it_when_called():
    for path in files("gen"):
        assert not named(path) or label(path) == "gen/cli.py", label(path)
    assert "vocalburst.eval.evaluators" in named(ROOT / "gen" / "cli.py")


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_nobody_imports_the_folders_by_their_own_name(path):
    """`import gen` works from the repository root and would make a second copy of every module."""
    assert not {name for name in imported(path) if inside(name, "gen", "eval")}

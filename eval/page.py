"""Self-contained HTML pages: style, script, data, pictures and sounds are inside, and nothing else is loaded.

A content security policy in the page forbids the network, and any script but the one of the page, so that a name
in somebody's scores cannot become a program. Every number carries the path to itself in the data of the page
(`data-key`), which is the whole input as JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files

from vocalburst.eval import printing
from vocalburst.eval.scores import CONTROLS, MEASURES


def render_page(template: str, data: dict, **context: object) -> str:
    """The page of a template in `templates/`. data: put into the page as JSON; context: the template's names."""
    import jinja2

    folder = files("vocalburst.eval") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = (
        "show", "show_value", "show_interval", "show_measure", "show_clips", "show_each",
        "show_reference", "heading", "emotion_name", "short_hash",
    )  # fmt: skip
    environment.globals |= {name: getattr(printing, name) for name in shown}
    environment.globals |= {"MEASURES": MEASURES, "MEANINGS": printing.MEANINGS, "CONTROLS": CONTROLS}
    script = (folder / "page.js").read_text(encoding="utf-8")
    return environment.get_template(template).render(
        **context,
        policy=security_policy(script),
        css=(folder / "page.css").read_text(encoding="utf-8"),
        script=script,
        data=embedded_json(data),
    )


def security_policy(script: str) -> str:
    """Nothing from anywhere, but for data URIs of pictures and sounds, inline styles and this one script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def embedded_json(data: dict) -> str:
    """JSON that can stand inside a script element: no `<`, so no end tag and no comment."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")

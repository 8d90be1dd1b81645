"""What the self-contained pages of mupd share: their look, how they are filled in, what their policy allows."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2.environment import TemplateStream

_BASE = Path(__file__).with_name("base.css")


def csp_hash(text: str) -> str:
    """Source expression that allows one inline style or script (CSP level 3)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def page_stream(templates: Path, name: str, **values: Any) -> TemplateStream:
    """A page ``NAME.html.j2`` with its own ``NAME.css`` behind the common one, and ``NAME.js``; everything is escaped.

    Raises
    ------
    jinja2.UndefinedError
        While it is written, if the template uses a value that is not given.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    own, script = ((templates / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    style = _BASE.read_text(encoding="utf-8") + own
    environment = Environment(
        loader=FileSystemLoader(templates),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"{name}.html.j2").stream(
        # Our own package files, the same for every cohort: nothing of the cohort's goes into them.
        style=Markup(style),
        script=Markup(script),
        style_hash=csp_hash(style),
        script_hash=csp_hash(script),
        **values,
    )

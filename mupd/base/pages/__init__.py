"""What the self-contained pages of mupd share: their look, how they are filled in, what their policy allows."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2.environment import TemplateStream

_FOLDER = Path(__file__).parent
STYLE = _FOLDER / "base.css"
"""Rules that all pages share."""

SCRIPT = _FOLDER / "cases.js"
"""Searches and filters elements with ``data-search`` and ``data-kinds``; counts those with ``data-counted``."""


def csp_hash(text: str) -> str:
    """Source expression that allows one inline style or script (CSP level 3)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def page_stream(templates: Path, name: str, **values: Any) -> TemplateStream:
    """Fill in ``NAME.html.j2`` with the common style and script and its own ``NAME.css``; all values are escaped.

    Raises
    ------
    jinja2.UndefinedError
        While the page is written, if the template uses a value that `values` lacks.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    style = "".join(path.read_text(encoding="utf-8") for path in (STYLE, templates / f"{name}.css"))
    script = SCRIPT.read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(templates),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"{name}.html.j2").stream(
        # Package files: they hold nothing of the cohort.
        style=Markup(style),
        script=Markup(script),
        style_hash=csp_hash(style),
        script_hash=csp_hash(script),
        **values,
    )

"""Offline validation of an RO-Crate by roc-validator: ``python tests/validate_crate.py CRATE PROFILE...``.

roc-validator needs an older `rich` than mupd, so it lives in an environment of its own (see .ci/run). It fetches the
RO-Crate JSON-LD context from the web; here that one request is answered from the copy in the `rocrate` package, and
every other one fails.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

CONTEXT = "https://w3id.org/ro/crate/1.1/context"


def context_1_1() -> bytes:
    """The context of RO-Crate 1.1 from the newer one that `rocrate` ships: the terms of Bioschemas moved in between."""
    found = importlib.util.find_spec("rocrate")
    assert found is not None
    assert found.origin is not None
    text = (Path(found.origin).parent / "data" / "ro-crate.jsonld").read_text(encoding="utf-8")
    return text.replace("bioschemas.org/terms/", "bioschemas.org/").encode()


def answer_offline() -> None:
    """Let the validator's own requests be answered from here."""
    import requests
    from rocrate_validator.utils.http import HttpRequester

    def get(_self: Any, url: str, **_options: Any) -> requests.Response:
        response = requests.Response()
        response.url, response.status_code, response._content = url, 504, b""
        if url == CONTEXT:
            response.status_code, response._content = 200, context_1_1()
            response.headers["Content-Type"] = "application/ld+json"
        return response

    HttpRequester.get = HttpRequester.head = get


def main(crate: str, profiles: list[str], severity: str = "REQUIRED") -> int:
    """Print the issues of each profile as JSON; 1 if there are any."""
    answer_offline()
    from rocrate_validator import models, services

    issues = []
    for profile in profiles:
        settings = services.ValidationSettings(
            rocrate_uri=crate,
            profile_identifier=profile,
            requirement_severity=getattr(models.Severity, severity),
            offline=True,
        )
        for issue in services.validate(settings).get_issues():
            issues.append([profile, issue.severity.name, issue.check.identifier, issue.message])
    print(json.dumps(issues, indent=1))
    return int(bool(issues))


if __name__ == "__main__":
    level = {"--recommended": "RECOMMENDED"}.get(sys.argv[-1])
    sys.exit(main(sys.argv[1], sys.argv[2:-1], level) if level else main(sys.argv[1], sys.argv[2:]))

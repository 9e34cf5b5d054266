"""`tench doctor`: show the capabilities and limits of this machine."""

import dataclasses
import json
from typing import ClassVar

from tench.cli.parse import parse


@dataclasses.dataclass(frozen=True, kw_only=True)
class Doctor:
    """Show what this machine offers and what limits it: cores, memory, accelerators, precision, versions.

    Example:

        tench doctor
    """

    GROUPS: ClassVar[dict[str, str]] = {"Options": "json"}

    json: bool = False
    """Print one JSON object."""


def run(arguments: list[str]) -> int:
    asked = parse(Doctor, arguments)
    from tench.doctor import examine

    findings = examine()
    if asked.json:
        print(json.dumps({finding.what: finding.value for finding in findings}))
        return 0
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        print(f"{finding.what:<{width}}  {finding.value}")
        if finding.advice:
            print(f"{'':<{width}}  ! {finding.advice}")
    return 0

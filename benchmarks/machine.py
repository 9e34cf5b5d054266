"""Write a result together with the machine, versions, commit and date."""

import datetime
import json
from pathlib import Path
from typing import Any

from tench.run import environment


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON, with the machine it was measured on, and print it."""
    made_on = environment() | {"date": datetime.date.today().isoformat()}
    made_on["command"] = [Path(word).name if "/" in word else word for word in made_on["command"]]
    text = json.dumps(result | {"made_on": made_on}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
    print(text)

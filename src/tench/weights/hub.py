"""What the folders of transformers and timm share: config.json beside the weights, as on the Hugging Face hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from tench.data.table import Classes
from tench.errors import TenchError, UsageError
from tench.files import is_there
from tench.plain import PlainError, read_json, shown, typed
from tench.weights.recognise import CONFIG, HUB_FILES


class Config:
    """The values of a JSON file, checked when they are used; errors name the file and the key."""

    def __init__(self, path: Path, values: dict[str, Any] | None = None) -> None:
        self.path = path
        try:
            self._values: dict[str, Any] = read_json(path, dict[str, Any]) if values is None else values
        except ValueError as error:
            raise TenchError(f"{path}: {error}.") from error

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def given_keys(self) -> list[str]:
        """The keys whose values are neither null nor false."""
        return [key for key, value in self._values.items() if value is not None and value is not False]

    def get(self, key: str, kind: Any, default: Any = None) -> Any:
        """The value of a key, of the given type; the default if it is absent or null."""
        if key not in self:
            return default
        try:
            value = typed(self._values[key], kind, key)
        except PlainError as error:
            raise TenchError(f"{self.path}: {error}.") from error
        if isinstance(value, str) and not value.isprintable():
            raise TenchError(f"{self.path}: {key} is {shown(value)}, which contains unprintable characters.")
        return value

    def fraction(self, key: str, default: float) -> float:
        """A number from 0.01 to 1."""
        value: float = self.get(key, float, default)
        if not 0.01 <= value <= 1:
            raise TenchError(f"{self.path}: {key} is {value:g}, but should be at most 1 and at least 0.01.")
        return value

    def inside(self, key: str) -> "Config":
        """The values of a nested object; those of this one if there is none."""
        return Config(self.path, self.get(key, dict[str, Any])) if key in self else self

    def require(self, key: str, expected: object, default: object) -> None:
        """Raise UsageError unless a key has the only value that our networks implement."""
        if (found := self.get(key, Any, default)) != expected:
            raise UsageError(f"{self.path}: {key} is {shown(found)}. Only {shown(expected)} is supported.")

    def channels(self, key: str, default: int) -> int:
        """The number of input channels."""
        found: int = self.get(key, int, default)
        if found not in (1, 3):
            raise UsageError(f"{self.path}: {key} is {found}. Only 1 and 3 are supported.")
        return found


def weights_file(path: Path) -> Path:
    """The file of weights that a path means: the file itself, or that in a folder. Raises UsageError if there is
    none."""
    if path.name in HUB_FILES:
        return path
    folder = path.parent if path.name == CONFIG else path
    for name in HUB_FILES:
        if is_there(folder / name):
            return folder / name
    raise UsageError(
        f"{folder} has {CONFIG}, but neither {' nor '.join(HUB_FILES)}. If its weights are in several files, save the "
        "model in one: save_pretrained(..., max_shard_size='100GB')."
    )


def num_rows(state: dict[str, Tensor], name: str) -> int | None:
    """The rows of a tensor; None if there is no such tensor, or if it has no rows."""
    tensor = state.get(name)
    return None if tensor is None or not tensor.ndim or not len(tensor) else len(tensor)


def named_by(config: Config, ids: Sequence[str], names: Sequence[str]) -> Classes:
    """The classes; if ids are repeated, as some English names of ImageNet are, their numbers are the ids."""
    for name in (*ids, *names):
        if not name.isprintable():
            raise TenchError(f"{config.path}: the class {shown(name)} contains unprintable characters.")
    if len(set(ids)) < len(ids):
        return Classes.of(list(map(str, range(len(ids)))), list(names))
    return Classes.of(list(ids), list(names))

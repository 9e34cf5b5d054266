"""How a dataclass field is written on the command line, if its name and type do not say so."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """An annotation of a field: `lr: Annotated[float, Flag(aliases=("--learning-rate",))] = 0.1`.

    name: of the option, if it differs from the field's (a field cannot be called `with`). aliases: other names, with
    their dashes. metavar: the placeholder for the value in help texts. positional: the value is given without a name.
    repeated: the option takes one value and may be given several times.
    """

    name: str = ""
    aliases: tuple[str, ...] = ()
    metavar: str = ""
    positional: bool = False
    repeated: bool = False

"""Read untrusted XML as a stream and without entities, which can expand a few bytes to gigabytes."""

import xml.parsers.expat
from collections.abc import Callable, Mapping

from tench.errors import TenchError

_MOST_DEPTH = 64


def parse_xml(
    data: bytes,
    where: str,
    start: Callable[[str, Mapping[str, str]], None],
    end: Callable[[str, str], None] | None = None,
) -> None:
    """Call `start(tag, attributes)` and `end(tag, text)` for each element in order; text is the element's own.

    Namespace prefixes are dropped from tags. Raises TenchError if the XML is damaged, declares a document type, or
    nests deeper than any real file of this kind.
    """
    texts: list[list[str]] = []

    def started(tag: str, attributes: Mapping[str, str]) -> None:
        if len(texts) >= _MOST_DEPTH:
            raise ValueError(f"elements nest deeper than {_MOST_DEPTH}")
        texts.append([])
        start(tag.rpartition(":")[2], attributes)

    def ended(tag: str) -> None:
        text = "".join(texts.pop())
        if end is not None:
            end(tag.rpartition(":")[2], text)

    def declared(*_: object) -> None:
        raise ValueError("it declares a document type, which no file of this kind needs")

    parser = xml.parsers.expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = started
    parser.EndElementHandler = ended
    parser.CharacterDataHandler = lambda text: texts[-1].append(text)
    parser.StartDoctypeDeclHandler = declared
    try:
        parser.Parse(data, True)
    except (xml.parsers.expat.ExpatError, ValueError, LookupError) as error:
        raise TenchError(f"{where} is damaged XML ({error}). Copy or export the file again.") from error

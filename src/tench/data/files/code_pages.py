"""Find the code page of the names in an archive, if they are not UTF-8.

Windows writes names in the code page of its language, and neither zip nor tar records which. A wrong guess makes
class names unreadable, so a page is chosen only if the names make sense in that page and no other: all names together
are decoded in each page and judged by their letters. Short names often make sense in several pages. Then none is
chosen, and the names are shown as `unzip` shows them: in code page 437, in which every byte is a different character.

The tests for a script, from the layout of its code page:
- Chinese, Japanese, Korean: characters are in the page's block of common characters, and single ones do not follow
  Latin letters.
- Cyrillic: every letter outside ASCII is Cyrillic, and words are in lower, upper or title case. The letter frequencies
  of Russian decide between the two pages.
- Western: accented letters are few, and have the case of the letters around them.
"""

import itertools
import math
import re
from collections.abc import Collection, Sequence

from tench.errors import counted

UNKNOWN = "cp437"
"""The code page in which names are shown if their own is unknown."""

_MOST_NAMES = 5_000
"""Number of names that are examined."""
_COMMON = {
    "cp932": re.compile(rb"(?:\x82[\x9f-\xf1]|\x83[\x40-\x96]|[\x88-\x97][\x40-\xfc]|\x98[\x40-\x72]|\x81[\x40-\x5b])"),
    "gbk": re.compile(rb"[\xb0-\xd7][\xa1-\xfe]"),
    "big5": re.compile(rb"[\xa4-\xc6][\x40-\x7e\xa1-\xfe]"),
    "cp949": re.compile(rb"[\xb0-\xc8][\xa1-\xfe]"),
}
"""The block of common characters of each page: kana and kanji of level 1, hanzi of level 1, hangul."""
_COMMON_SHARE = 0.85
_SURE_KOREAN = 12
"""The block of common hangul is part of the block of common hanzi. If at least this many different characters are all
in it, the names are Korean."""
_WESTERN = ("cp437", "cp850", "cp1252", "mac_roman")
_CYRILLIC = ("cp866", "cp1251")
_FREQUENT = {letter: 1000 / place for place, letter in enumerate("оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё", start=1)}
"""Letters of Russian, the most frequent first, with weights that fall as their frequencies do."""
_RARE = 10.0
_VOWELS = frozenset("аеёиоуыэюяіїє")
_CLEAR = 0.4
"""How much likelier one Cyrillic page must be than the other, in natural logarithms per letter."""
_ACCENTED = frozenset("áàâäãåæçéèêëíìîïñóòôöõøœúùûüßÁÀÂÄÃÅÆÇÉÈÊËÍÌÎÏÑÓÒÔÖÕØŒÚÙÛÜ")
_MOST_ACCENTED = 0.5


def code_page(names: Collection[bytes]) -> str | None:
    """The code page, as Python calls it, in which these names make sense; None if there is none or several.

    names: those of one archive that are not ASCII. "utf-8" if all names are valid UTF-8.
    """
    parts = {part for name in itertools.islice(names, _MOST_NAMES) for part in name.split(b"/") if not part.isascii()}
    if _decoded(names, "utf-8") is not None:
        return "utf-8"
    fitting = [page for page in (*_COMMON, *_CYRILLIC, *_WESTERN) if _fits(sorted(parts), page)]
    if fitting == ["gbk", "cp949"] and _is_surely_korean(parts):
        fitting = ["cp949"]
    if set(fitting) == set(_CYRILLIC):
        fitting = _likelier(parts)
    if len({tuple(_decoded(parts, page) or ()) for page in fitting}) == 1:  # cp437 and cp850 share most letters
        fitting = fitting[:1]
    return fitting[0] if len(fitting) == 1 and _decoded(names, fitting[0]) is not None else None


def _decoded(names: Collection[bytes], page: str) -> list[str] | None:
    try:
        return [name.decode(page) for name in names]
    except UnicodeDecodeError:
        return None


def _fits(parts: Sequence[bytes], page: str) -> bool:
    read = _decoded(parts, page)
    if read is None or not all(map(str.isprintable, read)):
        return False
    if page in _COMMON:
        return _is_east_asian(parts, read, page)
    if page == "mac_roman" and len({letter for name in read for letter in name if not letter.isascii()}) < 2:
        return False  # one letter is not enough evidence for the rarest page
    return all(map(_is_cyrillic if page in _CYRILLIC else _is_western, read))


def _is_east_asian(parts: Sequence[bytes], read: Sequence[str], page: str) -> bool:
    wide = [letter for name in read for letter in name if ord(letter) > 0x7F]
    common = sum(_COMMON[page].fullmatch(letter.encode(page)) is not None for letter in wide)
    glued = sum(len(re.findall(r"[A-Za-z][^\x00-\x7f](?![^\x00-\x7f])", name)) for name in read)
    return common >= _COMMON_SHARE * len(wide) and 2 * glued < len(wide)


def _is_surely_korean(parts: Collection[bytes]) -> bool:
    pairs = {pair for part in parts for pair in re.findall(rb"[\x80-\xff]{2}", part)}
    return len(pairs) >= _SURE_KOREAN and all(map(_COMMON["cp949"].fullmatch, pairs))


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", name)


def _is_cyrillic(name: str) -> bool:
    if any(letter.isascii() is False and not "\u0400" <= letter <= "\u045f" for letter in name):
        return False
    words = [word for word in _words(name) if not word.isascii()]
    return all(
        not re.search("[A-Za-z]", word)
        and (word.islower() or word.isupper() or word.istitle())
        and (len(word) < 3 or set(word.lower()) & _VOWELS)  # Hebrew fits the Cyrillic page, but has no vowels
        for word in words
    )


def _likelier(parts: Collection[bytes]) -> list[str]:
    """The Cyrillic page in which the letters are clearly Russian; None if there is none."""
    score = {}
    for page in _CYRILLIC:
        letters = [letter for name in _decoded(parts, page) or () for letter in name.lower() if not letter.isascii()]
        score[page] = sum(math.log(_FREQUENT.get(letter, _RARE)) for letter in letters) / max(1, len(letters))
    best, other = sorted(_CYRILLIC, key=lambda page: -score[page])
    return [best] if score[best] - score[other] > _CLEAR else [best, other]


def _is_western(name: str) -> bool:
    """Whether the letters outside ASCII are plausible accented letters: few, and in the case of their neighbours."""
    accented = [letter for letter in name if not letter.isascii()]
    if not set(accented) <= _ACCENTED:
        return False
    for word in _words(name):
        extra = sum(letter in _ACCENTED for letter in word)
        if extra and (extra > max(1, _MOST_ACCENTED * len(word)) or len(word) == 1):
            return False
        if extra and not (word.islower() or word.isupper() or word[1:].islower()):
            return False
    return True


def chosen_page(names: Collection[bytes], where: str, notes: list[str]) -> str:
    """The code page to read an archive's names in; adds a note that names it and says what to do if it is wrong.

    names: the archive's names that are not UTF-8. where: the archive.
    """
    page = code_page(names)
    if page == "utf-8":
        return page
    example = next(iter(names)).decode(page or UNKNOWN)[:80]
    if page:
        notes.append(
            f"{where}: {counted(len(names), 'name')} not in UTF-8, read as code page {page}, the only one in "
            f"which all make sense (such as {example!r})."
        )
    else:
        notes.append(
            f"{where}: {counted(len(names), 'name')} in an unknown code page (encoding), so class names may be "
            f"unreadable (such as {example!r}). Unpack the archive with the right one (unzip -O cp936 for Chinese) and "
            "pass the folder, or pack it again with UTF-8 names."
        )
    return page or UNKNOWN

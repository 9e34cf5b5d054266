import pytest

from tench.data.files.code_pages import chosen_page, code_page


def named(page: str, *classes: str) -> list[bytes]:
    return [f"{name}/{number}.jpg".encode(page) for name in classes for number in range(2)]


@pytest.mark.parametrize(
    ("page", "classes"),
    [
        ("cp932", ("猫", "犬")),
        ("cp932", ("りんご", "バナナ")),
        ("cp932", ("テスト画像",)),
        ("gbk", ("苹果", "香蕉", "橙子")),
        ("gbk", ("训练集/猫", "训练集/狗")),
        ("big5", ("貓", "狗")),
        ("big5", ("訓練/向日葵", "訓練/玫瑰")),
        ("cp949", ("고양이", "강아지", "호랑이", "사자", "코끼리", "기린", "토끼")),
        ("cp866", ("кот", "пёс")),
        ("cp866", ("Яблоко", "Груша")),
        ("cp1251", ("кошка", "собака")),
        ("cp1251", ("Яблоко", "ПСЫ")),
        ("cp437", ("Größe", "Äpfel")),
        ("cp437", ("niño", "café")),
        ("cp850", ("São Paulo", "João")),
        ("cp1252", ("Müller", "thé")),
        ("mac_roman", ("Müller", "Äpfel")),
        ("utf-8", ("猫", "кот", "Größe")),
    ],
)
def test_names_are_decoded_with_the_code_page_in_which_they_make_sense(page: str, classes: tuple[str, ...]) -> None:
    raw = named(page, *classes)
    found = code_page(raw)
    assert found is not None
    assert [name.decode(found) for name in raw] == [name.decode(page) for name in raw]


@pytest.mark.parametrize(
    ("page", "classes"),
    [
        ("gbk", ("猫", "狗")),  # the bytes are common Korean syllables too
        ("cp949", ("고양이", "개")),  # the bytes are common Chinese characters too
        ("mac_roman", ("König",)),  # a single letter fits many code pages
        ("cp737", ("γάτα", "σκύλος")),  # from here on: unsupported code pages
        ("cp1253", ("γάτα", "σκύλος")),
        ("cp1255", ("חתול", "כלב")),
        ("cp874", ("แมว", "หมา")),
        ("cp1256", ("قطة", "كلب")),
        ("koi8-r", ("кот", "пёс")),
        ("cp1250", ("kočka", "žába")),
    ],
)
def test_no_code_page_is_chosen_for_names_that_fit_several_or_none(page: str, classes: tuple[str, ...]) -> None:
    assert code_page(named(page, *classes)) is None


def test_a_note_names_the_code_page_or_says_what_to_do() -> None:
    notes: list[str] = []
    assert chosen_page(named("cp866", "кот"), "a.zip", notes) == "cp866"
    assert chosen_page(named("gbk", "狗", "猫"), "b.zip", notes) == "cp437"
    assert chosen_page(named("utf-8", "猫"), "c.zip", notes) == "utf-8"
    assert notes == [
        "a.zip: 2 names not in UTF-8, read as code page cp866, the only one in which all make sense "
        "(such as 'кот/0.jpg').",
        "b.zip: 4 names in an unknown code page (encoding), so class names may be unreadable (such as '╣╖/0.jpg'). "
        "Unpack the archive with the right one (unzip -O cp936 for Chinese) and pass the folder, or pack it again with "
        "UTF-8 names.",
    ]

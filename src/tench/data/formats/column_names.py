"""Names of columns that mean the same wherever a table comes from: a label file, Parquet or Arrow."""

LABEL_COLUMNS = tuple(
    "wnid synset label labels class classes category categories target class_id choice tags class_name classname "
    "label_name category_name classid labelid category_id clsid".split()
)
"""Column names that stand for a label, in lower case; of several that go together, the first in this order is used."""

TAXONOMY = tuple("kingdom phylum class order family genus specific_epithet species supercategory".split())
"""Columns and keys that name the levels of a taxonomy."""

"""Records and the frames that MXNet's own writer writes for them."""

MAGIC = bytes.fromhex("0a23d7ce")

FRAMES = [
    (b"", "0a23d7ce 00000000"),
    (b"a", "0a23d7ce 01000000 61000000"),
    (MAGIC, "0a23d7ce 00000020 0a23d7ce 00000060"),
    (MAGIC * 2, "0a23d7ce 00000020 0a23d7ce 00000040 0a23d7ce 00000060"),
    (b"abcd" + MAGIC + b"xyz", "0a23d7ce 04000020 61626364 0a23d7ce 03000060 78797a00"),
    (b"ab" + MAGIC + b"cd", "0a23d7ce 08000000 6162 0a23d7ce 6364"),
]
"""(a record, its frames in hexadecimal digits)"""

"""The former home of `tench.data.images.picture`: keeps scripts that import this path working."""

from tench.data.images.picture import Decoded, Jpeg, Picture, decode_row, errors_name, open_picture

__all__ = ["Decoded", "Jpeg", "Picture", "decode_row", "errors_name", "open_picture"]

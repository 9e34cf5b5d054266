"""The reference client beside an exported graph: a script that needs only onnxruntime, NumPy and Pillow."""

import textwrap

from tench.weights.own import ModelCard


def client(card: ModelCard, file: str) -> str:
    """The script's text, at most 20 lines. file: the name of the ONNX file in the same folder, whose input is
    `image`."""
    turned = "ImageOps.exif_transpose(Image.open(path))" if card.exif == "apply" else "Image.open(path)"
    pixels = 'convert("RGB"))[None]' if card.channels == 3 else 'convert("L"))[None, ..., None]'
    return textwrap.dedent(
        f'''\
        """Classify images: python SCRIPT IMAGE ..."""

        import json
        import pathlib
        import sys

        import numpy as np
        import onnxruntime
        from PIL import Image{", ImageOps" if card.exif == "apply" else ""}

        session = onnxruntime.InferenceSession(pathlib.Path(__file__).with_name({file!r}))
        names = json.loads(session.get_modelmeta().custom_metadata_map["tench.class_names"])
        for path in sys.argv[1:]:
            pixels = np.asarray({turned}.{pixels}  # (1, H, W, {card.channels}) uint8
            (probabilities,) = session.run(None, {{"images": pixels}})[0]
            for index in probabilities.argsort()[::-1][:5]:
                print(f"{{path}}: {{probabilities[index]:.1%}} {{names[index]}}")
        '''
    )

"""Where tench's answer to a published form is still wrong: what it does today. A line goes when its reader is right."""

WRONG: dict[str, str] = {
    "CelebA: `img_align_celeba.zip` and the lists --label Smiling": "refused: holds no images",
    "Flowers102: `102flowers.tgz` with both `.mat` files": "refused: holds no images",
    "GTSRB: the three `.zip` files": "refused: holds no images",
    "INaturalist 2021: `train.tar.gz` and `val.tar.gz`": "refused: holds no images",
    "LSUN: the folder of its `.zip` files": "refused: holds no images",
    "OxfordIIITPet: `images.tar.gz` and `annotations.tar.gz`": "refused: holds no images",
    "Places365: the `.tar` files": "refused: holds no images",
    "StanfordCars: the `.tgz` files": "refused: holds no images",
    "Dogs vs. Cats: `train.zip` and `test1.zip` --label-from '^([a-z]+)'": "refused: holds no images",
    "Stanford Dogs: the three `.tar` files": "refused: holds no images",
}

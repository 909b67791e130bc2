"Small images and folders of images for tests."

import numpy as np
from PIL import Image

from dcacn_nb.data.loading import load_images


def noise(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def class_tree(root, names=("ant", "bee"), each=3, size=(8, 8)):
    for c, name in enumerate(names):
        for i in range(each):
            save(root / name / f"{i}.png", noise(*size, seed=10 * c + i))
    return root


def load(source, **options):
    return load_images(source, progress=False, **options)

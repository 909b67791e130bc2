"Sections of scale.py about images: listing, decoding, caching, streaming."

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scale import measured, row

CLASSES, DIFFERENT, SIDE = 20, 4096, 16  # class folders; files that differ, the others are hard links to them; px


def folder_of(
    n: int,  # images
    work: Path,
) -> Path:
    "A folder of small JPEG files in class folders, made once."
    root = work / f"folder-{n}"
    if not (work / f"folder-{n}.done").exists():
        draws, names = np.random.default_rng(0), []
        for i in range(n):
            name = root / f"class_{i % CLASSES:02}" / f"{i:07}.jpg"
            name.parent.mkdir(parents=True, exist_ok=True) if i < CLASSES else None
            if i < DIFFERENT:
                file = io.BytesIO()
                Image.fromarray(draws.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(file, "jpeg")
                name.write_bytes(file.getvalue())
                names.append(name)
            else:
                os.link(names[i % DIFFERENT], name)
        (work / f"folder-{n}.done").touch()
    return root


def list_folder(n: int, work: Path) -> Iterator[dict]:
    from dcacn_nb.data.image_file import image_suffixes
    from dcacn_nb.data.listing import list_images

    root, _ = folder_of(n, work), image_suffixes()  # Pillow loads its formats once
    with measured() as found:
        listing = list_images(root)
    assert len(listing.files) == n
    yield row(found, n)

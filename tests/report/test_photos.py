"Photos in the page: small exact files, alternatives that cannot break out, shapes that fit."

import base64
import io
import re

import numpy as np
from PIL import Image

from dcacn_nb.report.photos import HEIGHT, photo

draw = np.random.default_rng(0)


def opened(tag: str) -> Image.Image:
    "The picture inside a tag."
    return Image.open(io.BytesIO(base64.b64decode(re.search('base64,([^"]+)', tag)[1])))


def test_tiny_images_are_exact():
    "Digits and CIFAR images keep every pixel; grey stays grey."
    for shape in ((1, 8, 8), (3, 32, 32)):
        image = draw.integers(0, 256, shape, dtype=np.uint8)
        found = np.asarray(opened(photo(image, "a digit, image 1")))
        assert np.array_equal(found if shape[0] == 1 else found.transpose(2, 0, 1), image.squeeze())


def test_large_images_become_small():
    "A photo of 300 by 200 pixels: in the right shape, a few kilobytes, and the same colours."
    image = np.zeros((3, 200, 300), np.uint8)
    image[0, :, :150], image[2, :, 150:] = 200, 200
    tag = photo(image, "half red, half blue")
    picture = opened(tag)
    assert picture.format == "JPEG" and picture.size == (114, 76) and len(tag) < 4000
    assert abs(np.array(picture.getpixel((20, 38))) - (200, 0, 0)).max() < 12
    assert f'width="114" height="{HEIGHT}"' in tag


def test_a_panorama_shows_its_middle():
    "Twice as wide as high at most; a tower likewise."
    image = np.zeros((3, 100, 1000), np.uint8)
    image[:, :, 450:550] = 255
    picture = opened(photo(image, "a panorama, its middle white"))
    assert picture.size == (152, 76) and picture.getpixel((76, 38))[0] > 240
    assert opened(photo(np.zeros((3, 1000, 100), np.uint8), "a tower")).size == (38, 76)


def test_a_file_name_stays_a_name():
    "In markup it is text."
    tag = photo(np.zeros((1, 8, 8), np.uint8), '"><script>alert(1)</script>.jpg')
    assert "<script" not in tag and tag.count("<") == 1

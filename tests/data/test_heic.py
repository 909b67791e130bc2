"Photos of telephones: HEIC is read where pillow-heif is installed, and never left out without a word."

import numpy as np
import pytest
from pictures import class_tree, load, noise, save
from PIL import Image, features

from dcacn_nb.data import image_file
from dcacn_nb.data.listing import list_images
from dcacn_nb.data.pixels import measure_image, read_image, read_upright


def blocks(height, width, seed=0):
    "Large blocks of colour: what a lossy format keeps."
    return np.kron(noise(height // 20, width // 20, seed=seed), np.ones((20, 20, 1), np.uint8))


@pytest.fixture
def heif():
    module = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed: pip install pillow-heif")
    return module


@pytest.fixture
def without_heif(monkeypatch):
    "As if pillow-heif were not installed."
    found = image_file.find_spec
    monkeypatch.setattr(image_file, "find_spec", lambda name: None if name == "pillow_heif" else found(name))


def write_heic(heif, path, picture, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    heif.from_pillow(picture).save(path, quality=95, **options)
    return path


def test_heic_files_are_images(tmp_path, heif):
    root = class_tree(tmp_path / "x", each=2, size=(40, 60))
    photo = blocks(40, 60)
    path = write_heic(heif, root / "bee" / "IMG_1.HEIC", Image.fromarray(photo))
    images = load(root)
    assert images.labels.tolist() == [0, 0, 1, 1, 1] and images.paths[4] == str(path) and images.protocol["notes"] == []
    assert np.abs(images.images[4].numpy().transpose(1, 2, 0) - photo.astype(int)).mean() < 6
    assert measure_image(path) == (40, 60, False) and read_upright(path, 10).size == (60, 40)


def test_a_turned_heic_photo_is_upright_once(tmp_path, heif):
    "The decoder turns the picture by itself; Pillow must not turn it again."
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.fromarray(blocks(60, 40, seed=3))
    path = tmp_path / "a.heic"
    write_heic(heif, path, upright.transpose(Image.Transpose.ROTATE_90), exif=exif.tobytes())
    assert np.abs(read_image(path).transpose(1, 2, 0) - np.asarray(upright).astype(int)).mean() < 6
    assert measure_image(path)[:2] == (60, 40)


def test_a_damaged_heic_file_is_reported_or_skipped(tmp_path, heif):
    root = class_tree(tmp_path / "x", each=2)
    (root / "bee" / "bad.heic").write_bytes(b"no image")
    with pytest.raises(ValueError, match="bad.heic.*on_error='skip'"):
        load(root)
    assert list(load(root, on_error="skip").protocol["skipped"]) == ["bee/bad.heic"]


def test_without_pillow_heif_a_sentence_says_what_to_install(tmp_path, without_heif, caplog):
    root = class_tree(tmp_path / "x", each=2)
    for name in ("ant/a.heic", "ant/b.HEIC", "bee/c.heif"):
        (root / name).write_bytes(b"a photo")
    found = list_images(root)
    assert len(found.files) == 4 and found.ignored == {".heic": 2, ".heif": 1}
    images = load(root)
    assert len(images) == 4 and images.protocol["ignored"] == {".heic": 2, ".heif": 1}
    for sentence in ("2 .heic files are left out", "1 .heif file is left out"):
        assert f"{sentence}; install pillow-heif to read such files: pip install pillow-heif" in caplog.text
        assert sentence in " ".join(images.protocol["notes"])
    assert caplog.text.count("2 .heic files") == 1


def test_a_folder_of_heic_files_alone_says_what_to_install(tmp_path, without_heif):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.heic").write_bytes(b"a photo")
    with pytest.raises(ValueError, match="holds no images: found 1 .heic.*pip install pillow-heif"):
        list_images(tmp_path / "x")


def test_a_flat_folder_counts_what_is_left_out(tmp_path, without_heif):
    save(tmp_path / "x" / "a.png", noise(8, 8))
    (tmp_path / "x" / "b.heic").write_bytes(b"a photo")
    assert "1 .heic file is left out" in " ".join(list_images(tmp_path / "x").notes)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF: pip install -U pillow")
def test_avif_files_are_images(tmp_path):
    photo = blocks(40, 60)
    save(tmp_path / "x" / "a.avif", photo, quality=95)
    assert np.abs(load(tmp_path / "x").images[0].numpy().transpose(1, 2, 0) - photo.astype(int)).mean() < 6


def test_without_avif_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    save(tmp_path / "x" / "a.png", noise(8, 8))
    (tmp_path / "x" / "b.avif").write_bytes(b"a photo")
    monkeypatch.setattr(image_file.features, "check", lambda name: False)
    found = list_images(tmp_path / "x")
    assert found.files == ["a.png"] and "1 .avif file is left out; install a newer Pillow" in found.notes[1]
    assert ".avif" not in image_file.image_suffixes()


@pytest.mark.parametrize("suffix", [".avif", ".mpo", ".heic"])
def test_further_pictures_of_a_file_are_counted(suffix, tmp_path, request):
    "The first is taken; a sentence says how many are not read."
    first, *more = [Image.fromarray(blocks(40, 60, seed)) for seed in range(3)]
    path = tmp_path / "x" / f"several{suffix}"
    path.parent.mkdir()
    if suffix == ".heic":
        request.getfixturevalue("heif").register_heif_opener()
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    options = {"format": "MPO", "subsampling": 0} if suffix == ".mpo" else {}
    first.save(path, save_all=True, append_images=more, quality=95, **options)
    images = load(path.parent)
    assert images.protocol["notes"] == [f"2 pages or frames not read (several{suffix} 2)"]
    assert np.abs(images.images[0].numpy().transpose(1, 2, 0).astype(int) - np.asarray(first)).mean() < 8

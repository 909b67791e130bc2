"`embed`: which pixels reach the encoder, what comes back, what is cached, and what bad input gets."

import os

import numpy as np
import pytest
import torch
from fake_encoder import FakeEncoder
from pictures import class_tree, noise, save
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.transforms import v2

from dcacn_nb.data.feature_set import FeatureSet, load_features, save_features
from dcacn_nb.data.folders import in_order
from dcacn_nb.data.loading import load_images
from dcacn_nb.data.pixels import read_image, read_upright
from dcacn_nb.encoders import embed as public_embed
from dcacn_nb.encoders import stream
from dcacn_nb.method.views import crop_resize, multicrop_for, sample_boxes


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def embed(source, encoder=None, **options):
    return public_embed(source, encoder or FakeEncoder(), progress=False, **options)


def by_hand(paths, encoder):
    "The features of files one by one, by torchvision's CenterCrop and Resize."
    rows = []
    for path in paths:
        picture = Image.open(path).convert("RGB")
        width, height = picture.size
        part = v2.CenterCrop((min(height, 2 * width), min(width, 2 * height)))
        fit = v2.Compose([part, v2.Resize((encoder.size, encoder.size), antialias=True), v2.PILToTensor()])
        rows.append(encoder(fit(picture)[None]))
    return torch.cat(rows)


# --- pixels in, features out --------------------------------------------------------------------------------------
def test_a_folder_of_mixed_sizes_against_torchvision(tmp_path):
    root = class_tree(tmp_path / "x", each=3, size=(20, 31))
    save(root / "ant" / "tall.png", noise(40, 18, seed=5))
    save(root / "bee" / "grey.png", noise(9, 12, channels=1, seed=6))
    encoder = FakeEncoder()
    found = embed(root, encoder, batch_size=3)
    assert found.features.shape == (8, 12) and torch.equal(found.features, by_hand(found.paths, FakeEncoder()))
    assert found.class_names == ["ant", "bee"] and found.labels.tolist() == [0] * 4 + [1] * 4
    assert all(os.path.isabs(path) and os.path.isfile(path) for path in found.paths)
    assert found.protocol["encoder"] == encoder.about() and found.protocol["source"] == str(root)
    assert found.protocol["count"] == 8 and found.protocol["skipped"] == {} and "16 px" in found.protocol["resize"]
    wrong = encoder(torch.from_numpy(read_image(found.paths[3], 16, 3).copy())[None])
    assert not torch.allclose(found.features[3], wrong[0], atol=1e-3), "the central square is another picture"


def test_small_pictures_are_central_squares(tmp_path):
    root = class_tree(tmp_path / "x", each=2, size=(90, 140))
    found = embed(root, thumbnails=24)
    for path, small in zip(found.paths, found.images):
        np.testing.assert_array_equal(read_image(path, 24, 3), small.numpy())
    assert embed(root, thumbnails=0).images is None


def test_arrays_and_image_sets(tmp_path):
    "Images in memory are enlarged; those that are small already are their own small pictures, grey ones stay grey."
    grey = np.stack([noise(8, 8, channels=1, seed=i) for i in range(5)])
    encoder = FakeEncoder()
    found = embed(grey, encoder, batch_size=2)
    big = [Image.fromarray(one).resize((16, 16), Image.Resampling.BILINEAR).convert("RGB") for one in grey]
    wanted = FakeEncoder()(torch.stack([v2.functional.pil_to_tensor(one) for one in big]))
    assert torch.equal(found.features, wanted) and found.images.shape == (5, 1, 8, 8)
    np.testing.assert_array_equal(found.images[:, 0].numpy(), grey)
    colour = load_images(np.stack([noise(70, 70, seed=i) for i in range(4)]))
    found = embed(colour, thumbnails=32, limit=3, seed=1)
    assert found.images.shape == (3, 3, 32, 32) and found.protocol["limit"] == 3 and found.protocol["seed"] == 1
    assert torch.equal(found.features, embed(load_images(colour, limit=3, seed=1)).features)
    assert not (tmp_path / "cache").exists(), "images in memory are kept nowhere unless asked for"


def test_a_known_source_is_cached_by_its_pixels():
    encoder = FakeEncoder()
    first = embed("digits", encoder, limit=20)
    again = embed("digits", encoder, limit=20)
    assert torch.equal(first.features, again.features) and encoder.seen == 20 and len(np.unique(first.labels)) > 5
    assert first.protocol == again.protocol and first.protocol["source"] == "digits"
    images = load_images("digits", limit=20)
    images.images = images.images.clone()
    images.images[0] = 0
    assert embed(images, encoder).features[0].abs().sum() == 0 and encoder.seen == 40


def test_limit_reads_only_what_it_keeps(tmp_path):
    root, encoder = class_tree(tmp_path / "x", each=20), FakeEncoder()
    few = embed(root, encoder, limit=7, seed=3)
    assert encoder.seen == len(few) == 7 and few.paths == load_images(root, limit=7, seed=3, progress=False).paths
    assert few.protocol["limit"] == 7 and embed(root, limit=99).protocol["limit"] is None


def test_features_are_written_and_read(tmp_path):
    found = embed(class_tree(tmp_path / "x"))
    for suffix in ("npz", "safetensors"):
        back = load_features(save_features(found, tmp_path / f"f.{suffix}"))
        assert torch.equal(back.features, found.features) and back.paths == found.paths
        assert torch.equal(back.images, found.images) and back.protocol["encoder"]["name"] == "fake"


# --- photographs --------------------------------------------------------------------------------------------------
def test_large_jpegs_are_decoded_at_a_reduced_size(tmp_path):
    "Close to the full decode, and never below the side that is needed."
    photo = load_sample_images().images[0]  # 427 x 640
    save(tmp_path / "x" / "a.jpg", photo, quality=90)
    path = tmp_path / "x" / "a.jpg"
    assert read_upright(path).size == (640, 427) and read_upright(path, 200).size == (320, 214)
    assert read_upright(path, 100).size == (160, 107) and read_upright(path, 214).size == (640, 427)
    encoder = FakeEncoder(size=96, cells=8)
    by_draft = embed(tmp_path / "x", encoder).features
    assert (by_draft - by_hand([path], encoder)).abs().max() < 0.01
    other = FakeEncoder(size=96, cells=8)(torch.from_numpy(np.array(read_image(path, 96, 3)))[None])
    assert (by_draft - other).abs().max() > 0.1, "the central square is far"


def test_a_photo_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.fromarray(np.kron(noise(4, 6, seed=1), np.ones((40, 40, 1), np.uint8)))
    (tmp_path / "x").mkdir()
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "x" / "a.jpg", exif=exif, quality=95)
    encoder = FakeEncoder(size=32)
    fit = v2.Compose([v2.Resize((32, 32), antialias=True), v2.PILToTensor()])
    assert (embed(tmp_path / "x", encoder).features - encoder(fit(upright)[None])).abs().max() < 0.01


# --- views --------------------------------------------------------------------------------------------------------
def test_views_are_a_function_of_seed_and_number(tmp_path):
    root = class_tree(tmp_path / "x", each=4, size=(20, 20))
    found = embed(root, views=3, batch_size=8)
    assert found.features.shape == (8, 4, 12) and torch.equal(found.whole, embed(root).features)
    assert torch.allclose(embed(root, views=3, batch_size=3, cache=False).features, found.features, atol=1e-6)
    assert torch.equal(embed(root, views=3, seed=1).whole, found.whole)
    assert (embed(root, views=3, seed=1).features[:, 1:] - found.features[:, 1:]).abs().min(2).values.max() > 0.01
    assert found.features.std(1).min() > 0, "no view equals another"
    assert found.protocol["views"] == {"count": 3, "seed": 0}


def test_crops_against_those_of_the_method():
    "Without distortion, a view is the crop that the method makes from the same draws."
    squares = torch.from_numpy(np.stack([noise(16, 16, seed=i).transpose(2, 0, 1) for i in range(3)]))
    crops = multicrop_for(16)
    plain = type(crops.weak)(flip=0, jitter=0)
    still = type(crops)(16, 8, global_scale=(0.3, 0.6), local_scale=(0.1, 0.2), weak=plain, strong=plain)
    views = stream.draw_crops(squares, [4, 9, 2], still, 3, seed=7)
    g = stream.generator(7, stream.VIEW_STREAM, 9)
    boxes = sample_boxes(1, 16, 16, (0.3, 0.6), still.ratio, g)
    wanted = crop_resize(squares[1:2] / 255, boxes, 16).mul(255).round()
    assert torch.equal(views[0][1:2].float(), wanted)
    assert torch.equal(stream.draw_crops(squares[1:2], [9], still, 3, seed=7)[2], views[2][1:2])


# --- the cache ----------------------------------------------------------------------------------------------------
def test_the_cache_is_hit_and_notices_changes(tmp_path, own_cache):
    root, encoder = class_tree(tmp_path / "x"), FakeEncoder()
    first, again = embed(root, encoder), embed(root, encoder)
    assert encoder.seen == 6 and torch.equal(first.features, again.features) and again.paths == first.paths
    assert torch.equal(first.images, again.images) and again.protocol == first.protocol
    again.features[0] = 0  # a private map: neither the file nor other readers see it
    assert torch.equal(embed(root, encoder).features, first.features)
    save(root / "ant" / "0.png", noise(8, 8, seed=99))
    os.utime(root / "ant" / "0.png", ns=(1, 1))
    changed = embed(root, encoder)
    assert encoder.seen == 12 and torch.equal(changed.features, by_hand(changed.paths, FakeEncoder()))
    count = lambda: len(list(own_cache.glob("features-*")))
    assert count() == 2
    for other in (FakeEncoder(weights="1"), FakeEncoder(size=32), FakeEncoder(name="b")):
        embed(root, other)
        assert other.seen == 6
    embed(root, encoder, thumbnails=8), embed(root, encoder, views=1), embed(root, encoder, views=1, seed=1)
    assert count() == 8 and encoder.seen == 12 + 6 + 12 + 12
    embed(root, encoder, cache=False)
    assert encoder.seen == 48 and count() == 8
    assert torch.equal(embed(root, cache=tmp_path / "other").features, changed.features) and count() == 8


@pytest.mark.parametrize("name, value", [("interpolation", "bicubic"), ("mean", (0, 0, 0)), ("std", (1, 1, 1))])
def test_what_an_encoder_does_to_pixels_decides(tmp_path, name, value):
    root, encoder, other = class_tree(tmp_path / "x"), FakeEncoder(), FakeEncoder()
    setattr(other, name, value)
    embed(root, encoder), embed(root, other)
    assert other.seen == 6


@pytest.mark.parametrize("engine, seen", [("openvino", 0), ("openvino-bf16", 6)])
def test_an_entry_serves_all_engines_of_full_precision(tmp_path, engine, seen):
    root, encoder, other = class_tree(tmp_path / "x"), FakeEncoder(), FakeEncoder()
    other.about = lambda: {**encoder.about(), "engine": engine}
    embed(root, encoder)
    found = embed(root, other)
    assert other.seen == seen and found.protocol["encoder"] == (other if seen else encoder).about()


# --- never all pixels in memory -----------------------------------------------------------------------------------
def test_decoding_runs_only_a_few_images_ahead(tmp_path, monkeypatch):
    root, seen, encoder = class_tree(tmp_path / "x", each=60), [], FakeEncoder()
    true_read, most = stream.read_upright, []

    def counted(*args):
        seen.append(1)
        most.append(len(seen) - encoder.seen)
        return true_read(*args)

    monkeypatch.setattr(stream, "read_upright", counted)
    embed(root, encoder, batch_size=4)
    assert encoder.seen == 120 and max(most) <= 3 * 4 + 4


def test_results_come_in_order_and_a_few_wait():
    started = []
    results = in_order(lambda i: (started.append(i), i * i)[1], iter(range(100)), ahead=5, threads=3)
    assert next(results) == 0 and len(started) <= 5
    assert list(results) == [i * i for i in range(1, 100)]
    assert list(in_order(str, [])) == [] and list(in_order(str, [1], ahead=1)) == ["1"]


# --- bad input ----------------------------------------------------------------------------------------------------
def test_a_file_that_is_no_image_ends_the_call_before_the_work(tmp_path):
    root, encoder = class_tree(tmp_path / "x", each=20), FakeEncoder()
    (root / "bee" / "9.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="bee/9.png.*on_error='skip'"):
        embed(root, encoder, batch_size=4)
    assert encoder.seen == 0


def test_unreadable_files_are_skipped_and_the_work_before_them_is_kept(tmp_path, caplog):
    "A file that is cut short shows itself only when it is decoded: the rows before it are reused."
    root, encoder = class_tree(tmp_path / "x", each=8), FakeEncoder()
    bad = root / "bee" / "3.png"
    bad.write_bytes(bad.read_bytes()[:-60])
    with pytest.raises(ValueError, match="bee/3.png.*on_error='skip'"):
        embed(root, encoder, batch_size=4)
    before = encoder.seen
    assert 8 <= before <= 8 + 3 + 4, "the rest of the bad batch and one more may be encoded in vain, and no others"
    found = embed(root, encoder, batch_size=4, on_error="skip")
    assert encoder.seen - before == 7 and "skipped bee" not in caplog.text and f"skipped {bad}" in caplog.text
    assert list(found.protocol["skipped"]) == ["bee/3.png"] and found.labels.tolist() == [0] * 8 + [1] * 7
    assert torch.equal(found.features, by_hand(found.paths, FakeEncoder())) and len(found.images) == 15
    with pytest.raises(ValueError, match="bee/3.png.*on_error='skip'"):
        embed(root, encoder)
    assert torch.equal(embed(root, encoder, on_error="skip").features, found.features)
    assert encoder.seen - before == 7


@pytest.mark.parametrize("cache", [None, False])
def test_a_folder_without_one_readable_image(tmp_path, cache):
    root = class_tree(tmp_path / "x", each=5)
    for path in root.rglob("*.png"):
        path.write_bytes(b"no image")
    for _ in range(2):
        with pytest.raises(ValueError, match="none of the 10 image files.*ant/0.png"):
            embed(root, on_error="skip", batch_size=4, cache=cache)


def test_an_encoder_that_gives_nan_is_refused_with_the_first_name(tmp_path, own_cache):
    root, encoder = class_tree(tmp_path / "x"), FakeEncoder()
    right = encoder.__call__

    class Broken(FakeEncoder):
        def __call__(self, images):
            features = right(images)
            features[1, 3] = float("nan")
            return features

    with pytest.raises(ValueError, match="FakeEncoder.*NaN or infinity for 1 of 4 images.*ant/1.png.*weights"):
        embed(root, Broken(), batch_size=4)

    class Short(FakeEncoder):
        def __call__(self, images):
            return right(images)[:, :5]

    with pytest.raises(ValueError, match=r"must give features \(6,12\), got \(6, 5\)"):
        embed(root, Short())
    assert torch.equal(embed(root).features, by_hand(embed(root).paths, FakeEncoder())), "nothing wrong was kept"


def test_features_of_another_encoder_are_refused(tmp_path):
    found = embed(class_tree(tmp_path / "x"), views=2)
    assert embed(found) is found and embed(found, views=2) is found and len(embed(found, limit=4)) == 4
    with pytest.raises(ValueError, match="computed these features, 'fake', got 'other'.*embed the images again"):
        embed(found, FakeEncoder(name="other"))
    with pytest.raises(ValueError, match="got 'lite0'"):
        embed(save_features(found, tmp_path / "f.npz"), "lite0")
    with pytest.raises(ValueError, match="views must be 2"):
        embed(found, views=5)
    mine = FeatureSet(torch.rand(4, 7))
    assert embed(mine) is mine, "what a user brings is taken, its encoder is not known"


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(views=-1), "views must be >= 0"),
        (dict(views=1.5), "views must be a whole number"),
        (dict(thumbnails=-1), "thumbnails must be"),
        (dict(batch_size=0), "batch_size must be >= 1"),
        (dict(limit=0), "limit must be >= 1"),
        (dict(seed=-1), "seed must be >= 0"),
        (dict(on_error="ignore"), "on_error must be one of"),
        (dict(split="train"), "split='train' is for known sources"),
        (dict(encoder=3), "encoder must be a name, a file or what load_encoder returns, got int"),
    ],
)
def test_wrong_options_are_refused_before_the_work(tmp_path, options, message):
    root = class_tree(tmp_path / "x")
    with pytest.raises((ValueError, TypeError), match=message):
        embed(root, **options)


def test_wrong_folders_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no images: found no files"):
        embed(tmp_path / "empty")
    with pytest.raises(ValueError, match="neither a known source.*nor a folder"):
        embed(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="has no splits|no splits"):
        embed(np.zeros((3, 8, 8), np.uint8), split="test")

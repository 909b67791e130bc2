"The crop viewer's Python half: the steps against MultiCrop bit by bit, the knobs, and what reaches the browser."

import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image

from dcacn_nb.core.events import RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.core.seeds import generator
from dcacn_nb.data.loading import load_images
from dcacn_nb.method.config import build_views, preset
from dcacn_nb.method.views import (
    Augmentation,
    MultiCrop,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    crop_resize,
    gaussian_blur,
    grey,
    multicrop_for,
    tilt,
)
from dcacn_nb.runs.log import RunLog
from dcacn_nb.widgets.crops import CropViewer
from dcacn_nb.widgets.crops_knobs import knob_groups, knobs_of, with_knobs
from dcacn_nb.widgets.crops_steps import COLOURS, crops_at, effect, replay, step_names, until
from dcacn_nb.widgets.feed import History

ALL = Augmentation(
    flip=0.5,
    jitter=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    grayscale=0.4,
    blur=0.5,
    sigma=(0.02, 0.1),
    rotation=20.0,
    shear=0.2,
)
VIEWS = MultiCrop(24, 12, n_local=5, weak=ALL, strong=dataclasses.replace(ALL, grayscale=0.0, rotation=0.0, shear=0.0))
SETTINGS = {
    "busy": VIEWS,
    "default": multicrop_for(32),
    "upright": multicrop_for(32, upright=True),
    "no local": dataclasses.replace(VIEWS, n_local=0),
    "small": dataclasses.replace(multicrop_for(8, channels=1, upright=True), n_local=3),
}


def some_images(n=3, channels=3, height=20, width=30, seed=0):
    "Images without any order."
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, channels, height, width), dtype=np.uint8))


def equal(a, b):
    "Whether two Crops are the same, bit by bit."
    return all(torch.equal(x, y) for x, y in zip(a, b))


def started(views=None, **changes):
    "The first event of a run with these views."
    config = dataclasses.asdict(preset("default", some_images(), 10, **changes))
    return RunStarted("dcacn", config, {}, 3, 1, 1), build_views(preset("default", some_images(), 10, **changes))


def snapshot(images, epoch=0):
    "The first snapshot of a run."
    return SnapshotTaken(epoch, 0, np.arange(len(images)), {"images": images.numpy()})


def overhear(viewer):
    "A list of all messages that the browser gets from now on, once it has said hello."
    sent = []
    viewer.send = lambda content, buffers=(): sent.append((content, list(buffers)))
    viewer._handles = []
    viewer._on_message(viewer, {"kind": "hello"}, [])
    return sent


def pixels(png):
    "A PNG as an array."
    return np.asarray(Image.open(io.BytesIO(png)))


# --- the steps
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", SETTINGS)
def test_all_steps_together_are_multicrop_bit_by_bit(name, channels):
    "The replayed draws and steps end in exactly what MultiCrop gives, boxes included."
    image, views = some_images(1, channels), SETTINGS[name]
    for seed in range(12):
        truth = views(image, generator(seed), return_boxes=True)
        kinds = replay(views, *image.shape[2:], generator(seed))
        last = len(step_names(channels)) - 1
        replayed = [until(kind, image.float() / 255, last) for kind in kinds]
        assert equal([x[:, None] for x in replayed] + [kind.boxes[:, None] for kind in kinds], truth)
        assert equal(crops_at(views, image, seed), truth) and equal(crops_at(views, image, seed, last), truth)
        assert torch.equal(crops_at(views, image, seed, 0).global_boxes, truth.global_boxes)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_step_is_one_operation(channels):
    "From step to step the named operation with the named amount happens: recomputed one crop, one operation at a time."
    image = some_images(1, channels)
    floats, seen = image.float() / 255, set()
    for seed in range(8):
        for drawn in replay(VIEWS, *image.shape[2:], generator(seed)):
            for i in range(len(drawn.boxes)):
                crop = crop_resize(floats, drawn.boxes[i : i + 1], drawn.size)
                for step, name in enumerate(step_names(channels)):
                    if step:
                        key, values = effect(drawn, i, name, channels)
                        crop = by_hand(crop, key, values, drawn)
                        seen.add(key)
                    torch.testing.assert_close(
                        until(drawn, floats, step)[i : i + 1], crop.clamp(0, 1), atol=2e-6, rtol=0
                    )
    assert {key for key in seen if key.startswith("did")} == {
        "did_flip",
        "did_tilt",
        "did_blur",
        "did_brightness",
        "did_contrast",
    } | ({"did_saturation", "did_hue", "did_grayscale"} if channels == 3 else set())


def by_hand(crop, key, values, drawn):
    "One operation on one crop, as the text names it."
    amount = torch.tensor([values["x"]]) if "x" in values else None
    changes = dict(
        zip([f"did_{name}" for name in COLOURS], [adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue])
    )
    if key in changes:
        return changes[key](crop, amount)
    if key == "did_blur":
        return gaussian_blur(crop, amount, max(1, int(np.ceil(3 * drawn.knobs.sigma[1] * drawn.size))))
    return {
        "did_flip": lambda: crop.flip(3),
        "did_tilt": lambda: tilt(crop, torch.tensor([values["angle"]]), torch.tensor([values["shear"]])),
        "did_grayscale": lambda: grey(crop).expand_as(crop),
    }.get(key, lambda: crop)()


def test_a_replay_in_another_order_is_caught():
    "The bit-by-bit comparison can fail: draws made in another order are other draws."
    image = some_images(1)
    for views in SETTINGS.values():
        for seed in range(5):
            truth, source = views(image, generator(seed), return_boxes=True), generator(seed)
            torch.rand(2, generator=source)  # flips drawn before the boxes, for example
            assert not torch.equal(replay(views, *image.shape[2:], source)[0].boxes[:, None], truth.global_boxes)


# --- knobs
def test_knobs_are_flat_and_lead_back():
    "Every field of MultiCrop but `share`, and of both Augmentations, appears once; its name changes that field alone."
    knobs = knobs_of(VIEWS)
    pairs = 3 + 2  # of MultiCrop, and sigma twice
    fields = len(dataclasses.fields(MultiCrop)) - 3 + 2 * len(dataclasses.fields(Augmentation))
    assert len(knobs) == fields + pairs and with_knobs(VIEWS, knobs) == VIEWS == with_knobs(VIEWS, {})
    changed = with_knobs(VIEWS, {"strong.sigma[1]": 0.2, "n_local": 1, "weak.flip": 0, "ratio[0]": 0.5})
    assert changed == dataclasses.replace(
        VIEWS,
        n_local=1,
        ratio=(0.5, 4 / 3),
        weak=dataclasses.replace(ALL, flip=0.0),
        strong=dataclasses.replace(VIEWS.strong, sigma=(0.02, 0.2)),
    )
    sliders = [knob for group in knob_groups(VIEWS, 32) for knob in group["knobs"]]
    assert [knob["name"] for knob in sliders] == list(knobs) and all(
        knob["low"] <= knobs[knob["name"]] <= knob["high"] for knob in sliders
    )
    assert all(knob["knob"] in CropViewer().words for knob in sliders)
    wide = with_knobs(VIEWS, {"n_local": 20, "weak.brightness": 3.0})
    assert {k["name"]: k["high"] for g in knob_groups(wide, 32) for k in g["knobs"]}["weak.brightness"] == 3.0
    idle = {k["name"] for g in knob_groups(VIEWS, 8, channels=1) for k in g["knobs"] if k["idle"]}
    assert idle == {f"{group}.{name}" for group in ("weak", "strong") for name in ("saturation", "hue", "grayscale")}


@pytest.mark.parametrize(
    "knobs, said",
    [
        (
            {"global_scale[0]": 0.9, "global_scale[1]": 0.5},
            "global_scale must be ordered (smallest, largest), got (0.9, 0.5)",
        ),
        ({"local_size": 30}, "local_size must be <= global_size = 24"),
        ({"strong.sigma[0]": 0.5}, "strong.sigma must be ordered"),
        ({"weak.flip": 2}, "weak.flip must be >= 0 and <= 1, got 2"),
        ({"strong.flip": 1.5}, "strong.flip must be >= 0 and <= 1, got 1.5"),
        ({"weak.flop": 1}, "got 'weak.flop'"),
    ],
)
def test_bad_knobs_are_refused_by_name(knobs, said):
    "The error is MultiCrop's own, with the knob's whole name."
    with pytest.raises(ValueError) as error:
        with_knobs(VIEWS, knobs)
    assert said in str(error.value)


# --- the viewer
def test_what_reaches_the_browser_is_what_multicrop_gives():
    "PNG for PNG the crops of MultiCrop, to the bit; the image unharmed; the boxes as they are."
    images = some_images(4)
    viewer = CropViewer(images=images, views=VIEWS)
    sent = overhear(viewer)
    viewer.show(image=2, seed=7)
    truth = VIEWS(images[2:3], generator(7), return_boxes=True)
    about, (png,) = next(message for message in reversed(sent) if message[0]["kind"] == "image")
    assert (pixels(png) == images[2].permute(1, 2, 0).numpy()).all() and about["shown"] == [30, 20]
    content, pngs = sent[-1]
    assert content["image"] == 2 and content["seed"] == 7 and content["step"] == len(content["steps"]) - 1 == 8
    for group, png, columns in zip(truth[:2], pngs, content["columns"]):
        sheet, side = pixels(png), group.shape[-1]
        for i, crop in enumerate(group[:, 0]):
            y, x = i // columns * side, i % columns * side
            assert (sheet[y : y + side, x : x + side] == (crop * 255).round().byte().permute(1, 2, 0).numpy()).all()
    boxes = torch.cat([truth.global_boxes, truth.local_boxes])[:, 0]
    assert torch.equal(torch.tensor([crop["box"] for crop in content["crops"]]), boxes)
    assert [crop["share"] for crop in content["crops"]] == [f"{h * w / 600:.0%}" for _, _, h, w in boxes.tolist()]
    assert equal(viewer.crops, truth)


def test_nothing_is_sent_without_a_view():
    "Without a view, nothing is sent; a late view gets the present state, once more if another appears."
    viewer = CropViewer(images=some_images())
    viewer.send = lambda *args, **kwargs: pytest.fail("sent without a view")
    viewer.show(seed=3)
    sent = overhear(viewer)
    assert [content["kind"] for content, _ in sent] == ["image", "crops"] and sent[-1][0]["seed"] == 3
    viewer._on_message(viewer, {"kind": "hello"}, [])
    assert sent[2:] == sent[:2]


def test_sliders_change_the_views_and_mistakes_change_nothing():
    "Knobs make new settings; an invalid knob leaves views and crops, is explained, and may be fixed by a later knob."
    viewer = CropViewer(images=some_images(), views=VIEWS)
    sent = overhear(viewer)
    viewer._on_message(viewer, {"kind": "show", "knobs": {"n_local": 1, "weak.flip": 1}}, [])
    assert (
        viewer.views == dataclasses.replace(VIEWS, n_local=1, weak=dataclasses.replace(ALL, flip=1))
        and len(sent[-1][0]["crops"]) == 3
    )
    good, crops = viewer.views, viewer.crops
    viewer._on_message(viewer, {"kind": "show", "knobs": {"global_scale[1]": 0.4}}, [])
    answer = sent[-1][0]
    assert viewer.views is good and viewer.crops is crops and "global_scale must be ordered" in answer["problem"]
    assert answer["knobs"]["global_scale[1]"] == 0.4  # the slider stays where it was put
    viewer._on_message(viewer, {"kind": "show", "image": 1}, [])  # the image may change all the same
    assert (
        sent[-1][0]["image"] == 1
        and sent[-1][0]["problem"]
        and [content["kind"] for content, _ in sent[-2:]] == ["image", "crops"]
    )
    viewer._on_message(viewer, {"kind": "show", "knobs": {"global_scale[0]": 0.3}}, [])
    assert sent[-1][0]["problem"] == "" and viewer.views.global_scale == (0.3, 0.4)
    viewer._on_message(viewer, {"kind": "reset"}, [])
    assert viewer.views == VIEWS and sent[-1][0]["knobs"] == knobs_of(VIEWS) and sent[-1][0]["image"] == 1
    viewer._on_message(viewer, {"kind": "show", "image": 99}, [])
    assert "image must be >= 0 and <= 2, got 99" in sent[-1][0]["problem"] and sent[-1][0]["image"] == 1


def test_code_and_sliders_are_one():
    "`views` is what the sliders made of it, and what code sets is what the sliders show."
    viewer = CropViewer(images=some_images(), views=VIEWS)
    sent = overhear(viewer)
    viewer.views = multicrop_for(64)
    assert sent[-1][0]["knobs"] == knobs_of(multicrop_for(64)) == knobs_of(viewer.views)
    with pytest.raises(TypeError, match="views must be a MultiCrop, got 3"):
        viewer.views = 3
    with pytest.raises(ValueError, match="step must be >= 0 and <= 8, got 9"):
        viewer.show(step=9)
    assert viewer.views == multicrop_for(64)


def test_a_run_brings_views_and_images():
    "The start brings the settings, the first snapshot the images; turned knobs stay; training computes nothing."
    viewer = CropViewer()
    sent = overhear(viewer)
    assert sent == [({"kind": "empty"}, [])] and viewer.crops is None and viewer.figure().alt.endswith("no images yet.")
    event, own = started(hue=0.2)
    images = some_images(5)
    viewer(event)
    viewer(snapshot(images))
    assert viewer.views == own and own.weak.hue == 0.2
    assert [content["kind"] for content, _ in sent[1:]] == ["changed", "changed"] and viewer._crops is None
    viewer._on_message(viewer, {"kind": "look"}, [])
    assert sent[-1][0]["n_images"] == 5 and equal(viewer.crops, own(images[:1], generator(0), return_boxes=True))
    viewer._on_message(viewer, {"kind": "show", "knobs": {"weak.hue": 0.3}}, [])
    viewer(started(hue=0.1)[0])  # a run that is resumed with other settings
    assert viewer.views.weak.hue == 0.3
    viewer._on_message(viewer, {"kind": "reset"}, [])
    assert viewer.views.weak.hue == 0.1
    viewer(snapshot(some_images(2, seed=1), epoch=1))
    assert viewer.crops.global_crops.shape[0] == 2 and "0 to 1" in viewer.summary


def test_a_dashboard_child_catches_up():
    "With a shared history the widget starts from what it holds."
    history, (event, own) = History(), started()
    history(event)
    history(snapshot(some_images()))
    viewer = CropViewer(history=history)
    assert viewer.views == own and "Image 0 of 0 to 2 (30 × 20 px)" in viewer.summary


def test_a_run_without_views_gets_the_default():
    "K-Means has no settings of views."
    viewer = CropViewer()
    viewer(RunStarted("kmeans", {"k": 3}, {}, 3, 1, 1))
    viewer(snapshot(some_images()))
    assert viewer.views == multicrop_for(30)


def test_defaults_say_whether_images_are_mirrored():
    "Digits are not, unless the caller asks for it."
    digits = load_images("digits", limit=100)
    assert CropViewer(images=digits).views == multicrop_for(8, channels=1, upright=True)
    assert CropViewer(images=digits, upright=False).views == multicrop_for(8, channels=1)
    assert CropViewer(images=some_images().numpy()).views == multicrop_for(30)


@pytest.mark.parametrize(
    "arguments, kind, said",
    [
        ({"images": np.zeros((2, 5, 8, 8), np.uint8)}, ValueError, "1 or 3 channels"),
        ({"images": [1, 2]}, TypeError, "images must be a NumPy array or a tensor, got list"),
        ({"views": "weak"}, TypeError, "views must be a MultiCrop, got 'weak'"),
        ({"seed": -1}, ValueError, "seed must be >= 0, got -1"),
        ({"lang": "fr"}, ValueError, "lang must be one of"),
    ],
)
def test_bad_arguments(arguments, kind, said):
    "Refused by name."
    with pytest.raises(kind) as error:
        CropViewer(**arguments)
    assert said in str(error.value)


def test_words_and_picture():
    "Summary in two languages with the figures of the boxes; every word in both; the printed twin shows the state."
    viewer = CropViewer(images=some_images(), views=VIEWS)
    boxes = viewer.crops.global_boxes[:, 0]
    first, second = (f"{share:.0%}" for share in (boxes[:, 2] * boxes[:, 3] / 600).tolist())
    assert viewer.summary.startswith(
        "Image 0 of 0 to 2 (30 × 20 px), seed 0: "
        f"two global crops of 24 px show {first}, {second} of it; 5 local crops of 12 px show "
    )
    assert viewer.summary.endswith("Step 9 of 9: + blur: as the network sees them.")
    viewer.lang = "zh"
    assert viewer.summary.startswith("图像 0") and first in viewer.summary and "网络得到的视图" in viewer.summary
    assert "as the network sees them" in viewer.figure().alt
    viewer.show(step=1)
    assert "after step 2 of 9 (flip)" in viewer.figure().alt and "第 2 / 9 步" in viewer.summary
    viewer.views = dataclasses.replace(VIEWS, n_local=0)
    assert "没有局部裁剪" in viewer.summary and len(viewer.figure().png()) > 1000


def test_large_images_are_shrunk_for_the_browser_alone():
    "A large photograph travels with at most 512 pixels a side; its crops are exact."
    image = some_images(1, height=900, width=1200)
    viewer = CropViewer(images=image)
    about, (png,) = overhear(viewer)[0]
    assert (about["width"], about["height"], about["shown"]) == (1200, 900, [512, 384]) and pixels(png).shape == (
        384,
        512,
        3,
    )
    assert equal(viewer.crops, multicrop_for(1200)(image, generator(0), return_boxes=True))


def test_a_picture_stays_once_it_was_seen():
    "Without a run, the picture takes the widget's place in the file when the first view appears, and only then."

    class Handle:
        "What display gives."

        bundles = []

        def update(self, bundle, raw):
            self.bundles.append(bundle)

    viewer = CropViewer(images=some_images())
    viewer._handles.append(Handle())
    viewer._on_message(viewer, {"kind": "hello"}, [])
    viewer._on_message(viewer, {"kind": "hello"}, [])
    assert (
        len(Handle.bundles) == 1
        and viewer.key in Handle.bundles[0]["text/html"]
        and "<img" in Handle.bundles[0]["text/html"]
    )
    child = CropViewer(images=some_images(), history=History())
    child._on_message(child, {"kind": "hello"}, [])
    assert not child.settled


def test_a_folder_brings_settings_images_and_the_end(tmp_path):
    "Attached to the log of a run on digits, in Chinese: its views, its images, and a picture with words."
    digits = load_images("digits", limit=20)
    config = preset("default", digits, 10, epochs=1, upright=True)
    log = RunLog(tmp_path / "run")
    log(RunStarted("dcacn", dataclasses.asdict(config), digits.protocol, len(digits), 1, 1))
    log(snapshot(digits.images[:16]))
    log(RunFinished("completed", 1, 1))
    viewer = CropViewer.attach(tmp_path / "run", lang="zh")
    assert viewer.wait() and viewer.views == build_views(config)
    viewer.show(image=3)
    assert viewer.summary.startswith("图像 3") and viewer.figure().alt.startswith("Image 3")
    assert viewer.views.weak.flip == 0 and viewer.views.weak.rotation > 0  # upright images: tilted, never flipped


def test_grey_images_have_three_steps_fewer():
    assert len(step_names(3)) - len(step_names(1)) == 3 and step_names(1)[-1] == step_names(3)[-1] == "blur"


def test_without_images_there_is_nothing_to_set():
    viewer = CropViewer()
    assert viewer.summary.startswith("Waiting for images")
    with pytest.raises(ValueError, match="show needs images"):
        viewer.show(seed=1)
    with pytest.raises(ValueError, match="image must be >= 0 and <= 2, got 3"):
        CropViewer(images=some_images()).show(image=3)

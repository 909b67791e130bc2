"""One image, the boxes of its crops, and the crops as the network gets them: every knob of the views, and every step on the way."""

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dcacn_nb.core.checks import check_int
from dcacn_nb.core.events import Event, RunStarted, SnapshotTaken
from dcacn_nb.core.seeds import generator
from dcacn_nb.data.image_set import ImageSet, from_arrays
from dcacn_nb.method.config import build_views, from_dict, preset
from dcacn_nb.method.views import (
    Augmentation,
    Crops,
    Draws,
    MultiCrop,
    as_float,
    augment,
    crop_resize,
    draw_augmentation,
    sample_boxes,
)
from dcacn_nb.report.figures import plot_crops
from dcacn_nb.report.picture import Picture, empty_picture
from dcacn_nb.widgets.live import LiveWidget, sprite_sheet


class Drawn(NamedTuple):
    "What MultiCrop draws for the n crops of one kind, global or local, of one image."

    size: int  # side of the crops, pixels
    knobs: Augmentation  # how strongly they are distorted
    boxes: Tensor  # (n,4) top, left, height, width in pixels
    flip: Tensor  # (n,) bool
    draws: Draws  # of n crops


def replay(
    views: MultiCrop,  # the settings
    height: int,  # of the image, pixels
    width: int,  # of the image, pixels
    generator: torch.Generator,  # in the state that MultiCrop would find it in
) -> "tuple[Drawn, Drawn]":  # for the global and for the local crops
    "The draws of `MultiCrop` for one image, made in the same order, so that they come out the same."
    kinds = (
        (2, views.global_size, views.global_scale, views.weak),
        (views.n_local, views.local_size, views.local_scale, views.strong),
    )
    drawn = []
    for n, size, scale, knobs in kinds:
        boxes = sample_boxes(n, height, width, scale, views.ratio, generator)
        flip = torch.rand(n, generator=generator) < knobs.flip
        drawn.append(Drawn(size, knobs, boxes, flip, draw_augmentation(n, size, knobs, generator)))
    return tuple(drawn)


COLOURS = ("brightness", "contrast", "saturation", "hue")  # the numbers in Draws.order


def step_names(
    channels: int,  # 1 grey, 3 colour
) -> "tuple[str, ...]":  # in the order in which they happen
    "The steps from image to view; grey images have no saturation, no hue and no colour to lose."
    changes = [f"colour_{i + 1}" for i in range(4 if channels == 3 else 2)]
    return ("crop", "flip", "tilt", *changes, *(["grayscale"] if channels == 3 else []), "blur")


_KNOB_OF = {
    "tilt": ("rotation", "shear"),
    "colour_1": ("jitter",),
    "grayscale": ("grayscale",),
    "blur": ("blur",),
}  # step -> what is 0 before it


def until(
    drawn: Drawn,  # the draws of n crops
    image: Tensor,  # (1,C,H,W) float in [0,1]
    step: int,  # number of the last step to take, from 0
) -> Tensor:  # (n,C,size,size) float in [0,1]
    "The crops after the first steps: the same draws, and the knobs of all later steps at zero."
    done = step_names(image.shape[1])[: step + 1]
    neutral = {knob: 0.0 for name, knobs in _KNOB_OF.items() if name not in done for knob in knobs}
    changes = sum(name.startswith("colour") for name in done)
    order = drawn.draws.order  # each crop has its own; -1: a change that does not happen (yet)
    acting = order < (4 if image.shape[1] == 3 else 2)
    order = order.masked_fill(acting.cumsum(1) > changes, -1)
    if len(drawn.boxes) == 0:
        return image.new_zeros(0, image.shape[1], drawn.size, drawn.size)
    crops = crop_resize(image, drawn.boxes, drawn.size, drawn.flip if "flip" in done else None)
    return augment(crops, drawn.draws._replace(order=order), replace(drawn.knobs, **neutral))


def crops_at(
    views: MultiCrop,  # the settings
    image: Tensor,  # (1,C,H,W) uint8, or float in [0,1]
    seed: int,  # of the draws, >= 0
    step: "int | None" = None,  # number of the last step to take, from 0; None: all of them
) -> Crops:  # with boxes
    "The crops of one image after a step. All steps taken, they are what MultiCrop gives, because it is MultiCrop that is asked."
    last = len(step_names(image.shape[1])) - 1
    if step is None or check_int("step", step, 0, last) == last:
        return views(image, generator(seed), return_boxes=True)
    drawn = replay(views, *image.shape[2:], generator(seed))
    pixels = [until(kind, as_float(image), step)[:, None] for kind in drawn]
    return Crops(*pixels, *(kind.boxes[:, None] for kind in drawn))


def effect(
    drawn: Drawn,  # the draws of some crops of one kind
    i: int,  # which of them
    name: str,  # a step
    channels: int,  # of the image
) -> "tuple[str, dict]":  # a key of WORDS that starts with did_ or not_, and what to fill in
    "What a step does to a crop."
    d = drawn.draws
    if name.startswith("colour"):
        order = [k for k in d.order[i].tolist() if k < (4 if channels == 3 else 2)]
        kind = order[int(name[-1]) - 1]
        return (f"did_{COLOURS[kind]}", {"x": d.factors[i, kind].item()}) if d.jittered[i] else ("not_colour", {})
    angle, shear, sigma = (values[i].item() for values in (d.angle, d.shear, d.sigma))
    done, values = {
        "flip": (drawn.flip[i], {}),
        "tilt": (angle or shear, {"angle": angle, "shear": shear}),
        "grayscale": (d.greyed[i], {}),
        "blur": (sigma > 0 and drawn.knobs.sigma[1] > 0, {"x": sigma}),
    }[name]
    return f"{'did' if done else 'not'}_{name}", values


WORDS = {  # key -> (English, Chinese)
    "title": ("Crops of an image", "图像的裁剪视图"),
    "no_images": (
        "Waiting for images: the first snapshot of a run brings them.",
        "等待图像：训练的第一个快照会带来图像。",
    ),
    "previous_image": ("Previous image", "上一张图像"),
    "next_image": ("Next image", "下一张图像"),
    "draw_again": ("Draw again", "重新抽取"),
    "seed": ("seed", "随机种子"),
    "previous_step": ("Previous step", "上一步"),
    "next_step": ("Next step", "下一步"),
    "of": ("{i} of {n}: {name}", "第 {i} / {n} 步：{name}"),
    "reset_knobs": ("Reset knobs", "恢复设置"),
    "refused": ("Not possible, the last possible crops stay: {problem}", "设置无效，保留上一次有效的裁剪：{problem}"),
    "boxes": (
        "The image with the boxes of its crops. Arrow keys choose a box.",
        "图像及其裁剪框。用方向键选择裁剪框。",
    ),
    "hint": (
        "Point at a crop or a box: it is shown where the one comes from and what happened to it. A click keeps it.",
        "将指针移到裁剪或裁剪框上，可查看其来源和所做的变换；点击可保持选中。",
    ),
    "scale": ("1 pixel of a crop = {n} of the screen", "裁剪的 1 个像素 = 屏幕的 {n} 个像素"),
    "shrunk": ("Crops shown at {n} of their size: too large for this place", "裁剪按 {n} 缩小显示：超出显示区域"),
    "image_shrunk": (
        "The image is shown with {width} × {height} of its pixels",
        "图像以 {width} × {height} 像素缩小显示",
    ),
    "global_crops": ("Global crops (solid boxes)", "全局裁剪（实线框）"),
    "local_crops": ("Local crops (dashed boxes)", "局部裁剪（虚线框）"),
    "no_local": ("no local crops (n_local is 0)", "没有局部裁剪（n_local 为 0）"),
    "sizes": ("Sizes and areas of the crops", "裁剪的大小与面积"),
    "weak": ("Weak distortion, of the global crops", "弱增强（全局裁剪）"),
    "strong": ("Strong distortion, of the local crops", "强增强（局部裁剪）"),
    "idle": ("{name} (nothing to do on grey images)", "{name}（对灰度图像无作用）"),
    "smallest": ("{name}, smallest", "{name}，最小"),
    "largest": ("{name}, largest", "{name}，最大"),
    # knobs
    "global_size": ("side of global crops, px", "全局裁剪边长（像素）"),
    "local_size": ("side of local crops, px", "局部裁剪边长（像素）"),
    "n_local": ("number of local crops", "局部裁剪数量"),
    "ratio": ("width / height", "宽高比"),
    "global_scale": ("area of global crops", "全局裁剪面积比例"),
    "local_scale": ("area of local crops", "局部裁剪面积比例"),
    "flip": ("mirrored, probability", "水平翻转概率"),
    "jitter": ("colours changed, probability", "颜色变化概率"),
    "brightness": ("brightness, 1 ±", "亮度，1 ±"),
    "contrast": ("contrast, 1 ±", "对比度，1 ±"),
    "saturation": ("saturation, 1 ±", "饱和度，1 ±"),
    "hue": ("hue, ± turns", "色相，± 圈"),
    "grayscale": ("colour lost, probability", "失去颜色概率"),
    "blur": ("blurred, probability", "模糊概率"),
    "sigma": ("blur, share of the side", "模糊标准差（占边长）"),
    "rotation": ("rotation, ± degrees", "旋转，± 度"),
    "shear": ("slant, ± share of the height", "错切，± 占高度"),
    # steps
    "step_crop": ("cut out and resized", "裁剪并缩放"),
    "step_flip": ("+ mirror image", "+ 水平翻转"),
    "step_tilt": ("+ tilt", "+ 倾斜"),
    "step_colour_1": ("+ first colour change", "+ 第一次颜色变化"),
    "step_colour_2": ("+ second colour change", "+ 第二次颜色变化"),
    "step_colour_3": ("+ third colour change", "+ 第三次颜色变化"),
    "step_colour_4": ("+ fourth colour change", "+ 第四次颜色变化"),
    "step_grayscale": ("+ loss of colour", "+ 失去颜色"),
    "step_blur": ("+ blur: as the network gets them", "+ 模糊：网络得到的视图"),
    # what a step did to a crop
    "did_flip": ("mirrored", "已翻转"),
    "not_flip": ("not mirrored", "未翻转"),
    "did_tilt": ("turned {angle:+.0f}°, slant {shear:+.2f}", "旋转 {angle:+.0f}°，错切 {shear:+.2f}"),
    "not_tilt": ("not tilted", "未倾斜"),
    "did_brightness": ("brightness × {x:.2f}", "亮度 × {x:.2f}"),
    "did_contrast": ("contrast × {x:.2f}", "对比度 × {x:.2f}"),
    "did_saturation": ("saturation × {x:.2f}", "饱和度 × {x:.2f}"),
    "did_hue": ("hue {x:+.3f} turns", "色相 {x:+.3f} 圈"),
    "not_colour": ("colours kept", "颜色不变"),
    "did_grayscale": ("colour lost", "失去颜色"),
    "not_grayscale": ("colour kept", "保留颜色"),
    "did_blur": ("blur {x:.2g} px", "模糊 {x:.2g} 像素"),
    "not_blur": ("not blurred", "未模糊"),
    "global": ("global", "全局"),
    "local": ("local", "局部"),
    "untouched": ("not distorted", "未变换"),
    "detail": (
        "Crop {i}, {kind}, {size} × {size} px: shows {share:.0%} of the image, {w:.1f} × {h:.1f} px from column {left:.1f}, row {top:.1f}. {effects}.",
        "裁剪 {i}（{kind}），{size} × {size} 像素：占图像的 {share:.0%}，从第 {left:.1f} 列、第 {top:.1f} 行起 {w:.1f} × {h:.1f} 像素。{effects}。",
    ),
    "before_tilt": ("The box is that before the tilt", "裁剪框为倾斜之前的位置"),
    "joint": (", ", "，"),
    "seen": (
        "Image {image} of 0 to {last} ({width} × {height} px), seed {seed}: two global crops of {size} px show {shares} of it; {local}. Step {step}.",
        "图像 {image}（共 0 至 {last}，{width} × {height} 像素），随机种子 {seed}：两个 {size} 像素的全局裁剪占其 {shares}；{local}。步骤：{step}。",
    ),
    "local_seen": ("{n} local crops of {size} px show {shares}", "{n} 个 {size} 像素的局部裁剪占 {shares}"),
}


RANGES = {  # knob -> lowest, highest and step of its slider
    "global_size": (4, 256, 1),
    "local_size": (4, 256, 1),
    "n_local": (0, 8, 1),
    "global_scale": (0.01, 1, 0.01),
    "local_scale": (0.01, 1, 0.01),
    "ratio": (0.2, 5, 0.05),
    "flip": (0, 1, 0.05),
    "jitter": (0, 1, 0.05),
    "brightness": (0, 1, 0.05),
    "contrast": (0, 1, 0.05),
    "saturation": (0, 1, 0.05),
    "hue": (0, 0.5, 0.01),
    "grayscale": (0, 1, 0.05),
    "blur": (0, 1, 0.05),
    "sigma": (0, 0.2, 0.002),
    "rotation": (0, 180, 1),
    "shear": (0, 1, 0.05),
}


def knobs_of(
    views: "MultiCrop | Augmentation",  # the settings
    before: str = "",  # put before every name
) -> "dict[str, int | float]":  # "n_local", "global_scale[0]", "weak.flip", "strong.sigma[1]", ... -> value
    "All knobs by name, in a flat dictionary."
    found = {}
    for name in (f.name for f in fields(views)):
        value = getattr(views, name)
        if isinstance(value, Augmentation):
            found |= knobs_of(value, f"{before}{name}.")
        else:
            found |= (
                {f"{before}{name}[{i}]": end for i, end in enumerate(value)}
                if isinstance(value, tuple)
                else {before + name: value}
            )
    return found


def with_knobs(
    views: "MultiCrop | Augmentation",  # the settings to start from
    knobs: "dict[str, int | float]",  # those to change, by the names of `knobs_of`
    before: str = "",  # put before every name
) -> "MultiCrop | Augmentation":
    "The settings with some knobs turned; what they cannot be is refused as they refuse it."
    unknown = sorted(set(knobs) - set(knobs_of(views))) if not before else []
    if unknown:
        raise ValueError(f"knobs must be some of {', '.join(knobs_of(views))}, got {unknown[0]!r}")
    changed = {}
    for name in (f.name for f in fields(views)):
        value, whole = getattr(views, name), before + name
        if isinstance(value, Augmentation):
            changed[name] = with_knobs(value, knobs, f"{whole}.")
        elif isinstance(value, tuple):
            changed[name] = tuple(knobs.get(f"{whole}[{i}]", end) for i, end in enumerate(value))
        else:
            changed[name] = knobs.get(whole, value)
    try:
        return replace(views, **changed)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{before}{error}") from None


def knob_groups(
    views: MultiCrop,  # the settings
    side: int,  # longest side of the images, pixels
    channels: int = 3,  # 1 grey, 3 colour
) -> "list[dict]":  # three groups: {"name", "knobs": [{"name", "knob", "end", "idle", "low", "high", "step"}]}
    "The sliders: what each is called and from where to where it goes, wide enough for the present value."
    groups = {"sizes": [], "weak": [], "strong": []}
    for name, value in knobs_of(views).items():
        group, _, knob = name.rpartition(".")
        knob, _, end = knob.partition("[")
        low, high, step = RANGES[knob]
        if knob.endswith("_size"):
            high = min(high, max(32, 2 * side))  # the sliders of small images stay fine
        groups[group or "sizes"].append(
            {
                "name": name,
                "knob": knob,
                "end": {"0]": "smallest", "1]": "largest"}.get(end, ""),
                "idle": channels == 1 and knob in ("saturation", "hue", "grayscale"),
                "low": min(low, value),
                "high": max(high, value),
                "step": step,
            }
        )
    return [{"name": name, "knobs": knobs} for name, knobs in groups.items()]


def _shares(boxes: Tensor, area: int) -> str:
    "The share of the image that each box covers; of many, the smallest and the largest."
    shares = (boxes[:, 2] * boxes[:, 3] / area).tolist()
    return (
        ", ".join(f"{share:.0%}" for share in shares) if len(shares) <= 4 else f"{min(shares):.0%} … {max(shares):.0%}"
    )


class CropViewer(LiveWidget):
    "One image, the boxes of its crops, and the crops as the network gets them; with every knob of `MultiCrop`, and step by step."

    NAMES = ("crops",)
    WORDS = WORDS
    MOST = 512  # longest side of the image as it is sent to the browser, pixels

    def __init__(
        self,
        run=None,  # a Run of this kernel, or None
        *,
        images: "ImageSet | Tensor | np.ndarray | None" = None,  # (N,C,H,W) uint8, or what holds such `.images`; None: those of the run's first snapshot
        views: "MultiCrop | None" = None,  # the settings to start from; None: the run's own, else the default for these images
        upright: "bool | None" = None,  # for the default: whether images must not be mirrored; None: known from the source
        seed: int = 0,  # of the draws, >= 0
        history=None,  # kept by somebody else, who also calls `update`
        folder=None,  # of the run
        lang: str = "en",  # "en" or "zh"
    ):
        if views is not None and not isinstance(views, MultiCrop):
            raise TypeError(f"views must be a MultiCrop, got {views!r}; multicrop_for(image_size) gives one")
        given = images is None or isinstance(images, ImageSet)
        self._set: ImageSet | None = images if given else from_arrays(getattr(images, "images", images))
        self._given, self._upright = {"images": images is not None, "views": views is not None}, upright
        self._first, self._views, self._asked, self._problem = views, views, knobs_of(views) if views else {}, ""
        self._image, self._seed, self._step, self._crops, self._draws = 0, check_int("seed", seed, 0), None, None, None
        super().__init__(run, history=history, folder=folder, lang=lang)

    def prepare(self) -> None:
        "Take what the history holds already."
        for event in (self.history.start, self.history.first_snapshot):
            if event is not None:
                self.update(event)
        self._default()

    # ---- what the run brings
    def update(self, event: Event) -> None:
        "The start of a run brings its views, the first snapshot its images."
        if isinstance(event, RunStarted) and not self._given["views"]:
            try:
                self._begin(build_views(from_dict(event.config)))
            except (TypeError, ValueError):  # a method without views (K-Means, say): then the default ones
                return
        elif (
            isinstance(event, SnapshotTaken)
            and "images" in event.arrays
            and len(event.arrays["images"])
            and not self._given["images"]
        ):
            self._set = ImageSet(torch.from_numpy(event.arrays["images"]))
            self._image, self._step, self._crops, self._draws = min(self._image, len(self._set) - 1), None, None, None
            self._default()
        else:
            return
        self.tell("changed")  # a view asks then: nothing is computed in the thread that trains

    def _begin(self, views: MultiCrop) -> None:
        "Settings to start from and to come back to; those that somebody has changed by now stay."
        if self._views == self._first:
            self._views, self._asked, self._crops, self._draws = views, knobs_of(views), None, None
        self._first = views

    def _default(self) -> None:
        "The default views, if there are images and nobody has named others."
        if self._set is not None and self._views is None:
            self._begin(build_views(preset("default", self._set, 2, upright=self._upright)))

    # ---- what is shown
    @property
    def views(self) -> "MultiCrop | None":
        "The settings as they are now, to go on with in code; can be set."
        return self._views

    @views.setter
    def views(self, views: MultiCrop) -> None:
        self.show(views=views)

    @property
    def crops(self) -> "Crops | None":  # None while there are no images
        "The crops as they are shown now, with their boxes."
        with self._lock:
            if self._crops is None and self._set is not None:
                self._crops = crops_at(self._views, self._picture(), self._seed, self._step)
            return self._crops

    def _picture(self, image: "int | None" = None) -> Tensor:  # (1,C,H,W) uint8
        "One image of the set, on the processor."
        i = self._image if image is None else image
        return self._set.images[i : i + 1].cpu()

    def _steps(self) -> "tuple[str, ...]":
        "The steps that these images go through."
        return step_names(self._set.images.shape[1])

    def show(
        self,
        *,
        image: "int | None" = None,  # which image, from 0
        seed: "int | None" = None,  # other draws
        step: "int | None" = None,  # number of the last step to take, from 0
        views: "MultiCrop | None" = None,  # other settings
    ) -> None:
        "Do in code what the sliders do; None leaves a thing as it is. What is not possible is refused, and nothing changes."
        with self._lock:
            if self._set is None:
                raise ValueError("show needs images: give images=..., or wait for the run's first snapshot")
            self._publish(self._change(image, seed, step, views))

    def _change(self, image=None, seed=None, step=None, views=None) -> bool:
        "Compute first, so that what is refused changes nothing; whether it is another image now."
        if views is not None and not isinstance(views, MultiCrop):
            raise TypeError(f"views must be a MultiCrop, got {views!r}")
        before, last = self._image, len(self._steps()) - 1
        image = before if image is None else check_int("image", image, 0, len(self._set) - 1)
        seed = self._seed if seed is None else check_int("seed", seed, 0)
        step = self._step if step is None else check_int("step", step, 0, last)
        crops = crops_at(views or self._views, self._picture(image), seed, step)
        self._image, self._seed, self._step, self._crops, self._draws = (
            image,
            seed,
            None if step == last else step,
            crops,
            None,
        )
        if views is not None:
            self._views, self._asked, self._problem = views, knobs_of(views), ""
        return image != before

    def _publish(self, image_too: bool) -> None:
        "Tell the views, and renew the words."
        self.summary = self.describe()
        if self._viewed:  # nothing is packed while nobody looks
            for content, buffers in ([self._image_message()] if image_too else []) + [self._crops_message()]:
                self.send(content, buffers=buffers)

    # ---- messages
    def on_message(self, content: dict, buffers: list) -> None:
        "Another image, seed, step or knob; a reset; or a view that wants to see what has changed."
        if self._set is None:
            return
        if content.get("kind") not in ("show", "reset"):
            self._publish(True)
            return
        wanted, asked, problem = self._wishes(content)
        another = False
        try:
            another = self._change(**wanted) if wanted else False
        except (TypeError, ValueError, RuntimeError) as error:
            problem = problem or str(error)
        if problem:  # views and crops are the last good ones; the sliders stay where they were put
            self._asked, self._problem = asked, problem
        self._publish(another)

    def _wishes(self, content: dict) -> "tuple[dict, dict, str]":
        "What a message wants changed, as arguments of `show`; the knobs it asks for; and what is wrong with them."
        wanted, asked = {key: content[key] for key in ("image", "seed", "step") if key in content}, self._asked
        if content["kind"] == "reset":
            return {"views": self._first}, asked, ""
        asked = {**asked, **content.get("knobs", {})}
        try:
            return {**wanted, "views": with_knobs(self._first, asked)}, asked, ""
        except (TypeError, ValueError) as error:  # the image and the step may change all the same
            return wanted, asked, str(error)

    def _on_message(self, widget, content: dict, buffers: list) -> None:
        "Without a run there is no end at which a picture could take the widget's place in the file: so it does when first seen."
        super()._on_message(widget, content, buffers)
        alone = self.run is None and self.follower is None and self._owns_history and self._given["images"]
        if content.get("kind") == "hello" and alone and not self._settled:
            self.settle()

    def backlog(self) -> "Iterable[tuple[dict, list[bytes]]]":
        "The image and its crops."
        return [({"kind": "empty"}, [])] if self._set is None else [self._image_message(), self._crops_message()]

    def _image_message(self) -> "tuple[dict, list[bytes]]":
        "The image, shrunk if it is very large."
        picture = self._picture().numpy()
        png, layout = sprite_sheet(picture, most=self.MOST)
        return {
            "kind": "image",
            "width": picture.shape[3],
            "height": picture.shape[2],
            "shown": [layout["width"], layout["height"]],
        }, [png]

    def _crops_message(self) -> "tuple[dict, list[bytes]]":
        "The crops, exact to the pixel, and all that is said about them."
        pixels = [(group[:, 0] * 255).round().to(torch.uint8).numpy() for group in self.crops[:2]]
        sheets = [sprite_sheet(group, most=max(group.shape[2:])) for group in pixels]
        names, step = self._steps(), self._step
        content = {
            "kind": "crops",
            "image": self._image,
            "n_images": len(self._set),
            "seed": self._seed,
            "step": len(names) - 1 if step is None else step,
            "steps": [self.say(f"step_{name}") for name in names],
            "knobs": self._asked,
            "problem": self._problem,
            "groups": knob_groups(self._views, max(self._set.images.shape[2:]), self._set.images.shape[1]),
            "columns": [layout["columns"] for _, layout in sheets],
            "crops": [told for n, drawn in enumerate(self._drawn()) for told in self._about(drawn, n)],
        }
        return content, [png for png, _ in sheets]

    def _drawn(self) -> "tuple[Drawn, Drawn]":
        "The draws behind the crops."
        if self._draws is None:
            self._draws = replay(self._views, *self._set.images.shape[2:], generator(self._seed))
        return self._draws

    def _about(self, drawn: Drawn, group: int) -> "list[dict]":
        "What is said about each crop of one kind."
        channels, height, width = self._set.images.shape[1:]
        names, told = self._steps(), []
        names = names[: len(names) if self._step is None else self._step + 1]
        for i, (top, left, h, w) in enumerate(drawn.boxes.tolist()):
            found = [effect(drawn, i, name, channels) for name in names[1:]]
            said = [self.say(key, **values) for key, values in found]
            did = [text for text, (key, _) in zip(said, found) if key.startswith("did")] or [self.say("untouched")]
            did += [self.say("before_tilt")] if ("did_tilt" in [key for key, _ in found]) else []
            number, kind, share = i + 1 + 2 * group, self.say(("global", "local")[group]), h * w / (height * width)
            effects = self.say("joint").join(did)
            told.append(
                {
                    "global": group == 0,
                    "size": drawn.size,
                    "box": [top, left, h, w],
                    "share": f"{share:.0%}",
                    "caption": said[-1] if said else "",
                    "detail": self.say(
                        "detail",
                        i=number,
                        kind=kind,
                        size=drawn.size,
                        share=share,
                        top=top,
                        left=left,
                        h=h,
                        w=w,
                        effects=effects,
                    ),
                }
            )
        return told

    # ---- in words and in print
    def describe(self) -> str:
        "Which image, which crops, and what they show of it."
        if self._set is None:
            return self.say("no_images")
        (height, width), drawn, names = self._set.images.shape[2:], self._drawn(), self._steps()
        shares = [_shares(kind.boxes, height * width) for kind in drawn]
        local = (
            self.say("local_seen", n=self._views.n_local, size=self._views.local_size, shares=shares[1])
            if self._views.n_local
            else self.say("no_local")
        )
        at = len(names) if self._step is None else self._step + 1
        return self.say(
            "seen",
            image=self._image,
            last=len(self._set) - 1,
            width=width,
            height=height,
            seed=self._seed,
            size=self._views.global_size,
            shares=shares[0],
            local=local,
            step=self.say("of", i=at, n=len(names), name=self.say(f"step_{names[at - 1]}")),
        )

    def figure(self) -> Picture:
        "The image with its boxes and the crops, as they are now."
        if self._set is None:
            return empty_picture("no images yet", "Crops of an image: no images yet.")
        names = self._steps()
        state = (
            "as the network sees them"
            if self._step is None
            else f"after step {self._step + 1} of {len(names)} ({names[self._step]})"
        )
        return plot_crops(self._picture()[0].numpy(), self.crops, f"Image {self._image}", state)

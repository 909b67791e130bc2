"""One image, the boxes of its crops, and the crops as the network sees them: every knob and every step."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from dcacn_nb.core.checks import check_int
from dcacn_nb.core.events import Event, RunStarted, SnapshotTaken
from dcacn_nb.core.seeds import generator
from dcacn_nb.data.arrays import from_arrays
from dcacn_nb.data.image_set import ImageSet
from dcacn_nb.method.config import build_views, from_dict, preset
from dcacn_nb.method.views import Crops, MultiCrop
from dcacn_nb.report.figures.views import plot_crops
from dcacn_nb.report.picture import Picture, empty_picture
from dcacn_nb.widgets.crops_knobs import knob_groups, knobs_of, with_knobs
from dcacn_nb.widgets.crops_steps import Drawn, crops_at, effect, replay, step_names
from dcacn_nb.widgets.live import STATIC, LiveWidget, sprite_sheet, widget_words


def _shares(boxes: Tensor, area: int) -> str:
    "The share of the image that each box covers; of many, the smallest and the largest."
    shares = (boxes[:, 2] * boxes[:, 3] / area).tolist()
    return (
        ", ".join(f"{share:.0%}" for share in shares) if len(shares) <= 4 else f"{min(shares):.0%} … {max(shares):.0%}"
    )


class CropViewer(LiveWidget):
    "One image, the boxes of its crops, and the crops as the network sees them, with every knob of `MultiCrop`."

    ESM = STATIC / "crops.js"
    WORDS = widget_words("crops")
    MOST = 512  # longest side of the image as it is sent to the browser, pixels

    def __init__(
        self,
        run=None,  # a Run of this kernel, or None
        *,
        images: "ImageSet | Tensor | np.ndarray | None" = None,  # (N,C,H,W) uint8; None: of the run's first snapshot
        views: "MultiCrop | None" = None,  # settings to start from; None: the run's own, else the default
        upright: "bool | None" = None,  # for the default: images must not be flipped; None: the images say
        seed: int = 0,  # of the draws, >= 0
        history=None,  # shared: its owner also calls `handle`; None: the widget keeps one
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
        "Use what the history already holds."
        for event in (self.history.start, self.history.first_snapshot):
            if event is not None:
                self.update(event)
        self._default()

    # ---- what the run brings
    def update(self, event: Event) -> None:
        "Take the views from the start of a run and the images from its first snapshot."
        if isinstance(event, RunStarted) and not self._given["views"]:
            try:
                self._begin(build_views(from_dict(event.config)))
            except (TypeError, ValueError):  # a method without views (K-Means, for example): the default is used
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
        self.post("changed")  # the view then asks: nothing is computed in the training thread

    def _begin(self, views: MultiCrop) -> None:
        "Settings to start from and to reset to; knobs that were turned meanwhile stay as they are."
        if self._views == self._first:
            self._views, self._asked, self._crops, self._draws = views, knobs_of(views), None, None
        self._first = views

    def _default(self) -> None:
        "The default views, if there are images but no other settings."
        if self._set is not None and self._views is None:
            self._begin(build_views(preset("default", self._set, 2, upright=self._upright)))

    # ---- what is shown
    @property
    def views(self) -> "MultiCrop | None":
        "The present settings, for use in code; can be set."
        return self._views

    @views.setter
    def views(self, views: MultiCrop) -> None:
        self.show(views=views)

    @property
    def crops(self) -> "Crops | None":  # None while there are no images
        "The crops that are shown now, with their boxes."
        with self._lock:
            if self._crops is None and self._set is not None:
                self._crops = crops_at(self._views, self._picture(), self._seed, self._step)
            return self._crops

    def _picture(self, image: "int | None" = None) -> Tensor:  # (1,C,H,W) uint8
        "One image of the set, on the processor."
        i = self._image if image is None else image
        return self._set.images[i : i + 1].cpu()

    def _steps(self) -> "tuple[str, ...]":
        "The steps for these images."
        return step_names(self._set.images.shape[1])

    def show(
        self,
        *,
        image: "int | None" = None,  # which image, from 0
        seed: "int | None" = None,  # other draws
        step: "int | None" = None,  # number of the last step to take, from 0
        views: "MultiCrop | None" = None,  # other settings
    ) -> None:
        "Set in code what the sliders set; None leaves a setting as it is. An invalid call changes nothing."
        with self._lock:
            if self._set is None:
                raise ValueError("show needs images: pass images=..., or wait for the run's first snapshot")
            self._publish(self._change(image, seed, step, views))

    def _change(self, image=None, seed=None, step=None, views=None) -> bool:
        "Compute first, so that an invalid call changes nothing. True if the image is another one."
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
        "Send the crops to all views, and renew the summary."
        self.summary = self.describe()
        if self._viewed:  # nothing is packed without a view
            for content, buffers in ([self._image_message()] if image_too else []) + [self._crops_message()]:
                self.send(content, buffers=buffers)

    # ---- messages
    def on_message(self, content: dict, buffers: list) -> None:
        "Set an image, seed, step or knob; reset; or answer a view that asks for changes."
        if self._set is None:
            return
        if content.get("kind") not in ("show", "reset"):
            self._publish(True)
            return
        wanted, asked, problem = self._request(content)
        another = False
        try:
            another = self._change(**wanted) if wanted else False
        except (TypeError, ValueError, RuntimeError) as error:
            problem = problem or str(error)
        if problem:  # views and crops stay valid; the sliders stay where they were moved to
            self._asked, self._problem = asked, problem
        self._publish(another)

    def _request(self, content: dict) -> "tuple[dict, dict, str]":
        "What a message asks for: arguments of `show`, the knobs, and what is wrong with them."
        wanted, asked = {key: content[key] for key in ("image", "seed", "step") if key in content}, self._asked
        if content["kind"] == "reset":
            return {"views": self._first}, asked, ""
        asked = {**asked, **content.get("knobs", {})}
        try:
            return {**wanted, "views": with_knobs(self._first, asked)}, asked, ""
        except (TypeError, ValueError) as error:  # image and step may still change
            return wanted, asked, str(error)

    def _on_message(self, widget, content: dict, buffers: list) -> None:
        "Leave a picture when first seen: without a run, no end of a run would do it."
        super()._on_message(widget, content, buffers)
        alone = self.run is None and self.follower is None and self._owns_history and self._given["images"]
        if content.get("kind") == "hello" and alone and not self.settled:
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
        "The crops, exact to the pixel, and the texts about them."
        pixels = [(group[:, 0] * 255).round().to(torch.uint8).numpy() for group in self.crops[:2]]
        sheets = [sprite_sheet(group, most=max(group.shape[2:])) for group in pixels]
        names, channels = self._steps(), self._set.images.shape[1]
        content = {
            "kind": "crops",
            "image": self._image,
            "n_images": len(self._set),
            "seed": self._seed,
            "step": len(names) - 1 if self._step is None else self._step,
            "steps": [self.text(f"step_{name}") for name in names],
            "knobs": self._asked,
            "problem": self._problem,
            "groups": knob_groups(self._views, max(self._set.images.shape[2:]), channels),
            "columns": [layout["columns"] for _, layout in sheets],
            "crops": [about for group, drawn in enumerate(self._drawn()) for about in self._about(drawn, group)],
        }
        return content, [png for png, _ in sheets]

    def _drawn(self) -> "tuple[Drawn, Drawn]":
        "The draws behind the crops."
        if self._draws is None:
            self._draws = replay(self._views, *self._set.images.shape[2:], generator(self._seed))
        return self._draws

    def _about(self, drawn: Drawn, group: int) -> "list[dict]":
        "The texts and numbers about each crop of one kind (group 0: global, 1: local)."
        channels, names = self._set.images.shape[1], self._steps()
        taken = names[1:] if self._step is None else names[1 : self._step + 1]
        about = []
        for i, box in enumerate(drawn.boxes.tolist()):
            effects = [effect(drawn, i, name, channels) for name in taken]
            texts = [self.text(key, **values) for key, values in effects]
            done = [text for text, (key, _) in zip(texts, effects) if key.startswith("did")] or [self.text("untouched")]
            if "did_tilt" in [key for key, _ in effects]:
                done.append(self.text("before_tilt"))
            about.append(
                {
                    "global": group == 0,
                    "size": drawn.size,
                    "box": box,
                    "share": f"{self._share(box):.0%}",
                    "caption": texts[-1] if texts else "",
                    "detail": self._detail(i + 1 + 2 * group, group, drawn.size, box, done),
                }
            )
        return about

    def _share(self, box: "list[float]") -> float:
        "The share of the image in a box."
        return box[2] * box[3] / (self._set.images.shape[2] * self._set.images.shape[3])

    def _detail(self, number: int, group: int, size: int, box: "list[float]", done: "list[str]") -> str:
        "One crop in words: its place in the image, and what was done to it."
        place = dict(zip(("top", "left", "h", "w"), box)) | {"share": self._share(box)}
        kind, effects = self.text(("global", "local")[group]), self.text("joint").join(done)
        return self.text("detail", i=number, kind=kind, size=size, effects=effects, **place)

    # ---- in words and in print
    def describe(self) -> str:
        "Which image, which crops, and how much of it they show."
        if self._set is None:
            return self.text("no_images")
        (height, width), names, views = self._set.images.shape[2:], self._steps(), self._views
        shares = [_shares(kind.boxes, height * width) for kind in self._drawn()]
        local = self.text("no_local")
        if views.n_local:
            local = self.text("local_seen", n=views.n_local, size=views.local_size, shares=shares[1])
        at = len(names) if self._step is None else self._step + 1
        return self.text(
            "seen",
            image=self._image,
            last=len(self._set) - 1,
            width=width,
            height=height,
            seed=self._seed,
            size=views.global_size,
            shares=shares[0],
            local=local,
            step=self.text("of", i=at, n=len(names), name=self.text(f"step_{names[at - 1]}")),
        )

    def figure(self) -> Picture:
        "The image with its boxes and the crops, as they are now."
        if self._set is None:
            return empty_picture("no images yet", "Crops of an image: no images yet.")
        names, state = self._steps(), "as the network sees them"
        if self._step is not None:
            state = f"after step {self._step + 1} of {len(names)} ({names[self._step]})"
        return plot_crops(self._picture()[0].numpy(), self.crops, f"Image {self._image}", state)

"""The settings of `MultiCrop` as knobs with names, and the sliders that turn them."""

from dataclasses import fields, replace

from dcacn_nb.method.views import Augmentation, MultiCrop

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
    "All knobs by name, as a flat dictionary."
    found = {}
    for name in _names(views):
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


def _names(views: "MultiCrop | Augmentation") -> "list[str]":
    "What a person sets; a share of the batch is given to each of several processes."
    return [one.name for one in fields(views) if one.name != "share"]


def with_knobs(
    views: "MultiCrop | Augmentation",  # the settings to start from
    knobs: "dict[str, int | float]",  # those to change, by the names of `knobs_of`
    before: str = "",  # put before every name
) -> "MultiCrop | Augmentation":
    "The settings with some knobs turned; invalid values raise the error of the settings themselves."
    unknown = sorted(set(knobs) - set(knobs_of(views))) if not before else []
    if unknown:
        raise ValueError(f"knobs must be among {', '.join(knobs_of(views))}, got {unknown[0]!r}")
    changed = {}
    for name in _names(views):
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
    "The sliders: name and range of each, wide enough for the present value."
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

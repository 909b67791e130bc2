"""Names of encoders, checked before PyTorch and timm are loaded, which takes many seconds."""

import difflib
import importlib.util
import re
from pathlib import Path

from dcacn_nb.core.weights import WEIGHT_SUFFIXES, check_weights_file

OWN = ("lite0", "lite2")  # the weights come in a package
PLACES = ("file", "weights_file")  # what an encoder says about itself that does not decide its features
_ELSEWHERE = ("open_clip:", "hf-hub:", "hf_hub:", "local-dir:")  # names that only a loaded library can check


def check_name(
    name: str,  # as given to load_encoder
    weights: "str | Path | None" = None,  # likewise
) -> None:
    "Refuse a name that no library knows, a weights file in the place of a name, and a file that is not there."
    if name.endswith(WEIGHT_SUFFIXES):
        raise ValueError(
            f"encoder must name an architecture, got the weights file {name!r}; give both, such as "
            f"load_encoder('vit_small_patch14_dinov2', weights={name!r}), or --encoder NAME --encoder-weights FILE"
        )
    if weights is not None:
        if name in OWN or name.endswith(".onnx"):
            raise ValueError(f"encoder {name!r} comes with its weights: leave weights= out, got {str(weights)!r}")
        check_weights_file(weights)
    if name.endswith(".onnx") and not Path(name).expanduser().is_file():
        raise FileNotFoundError(f"ONNX file {name!r} does not exist; give an existing file, or a name such as 'lite0'")
    if name in OWN or name.endswith(".onnx") or name.startswith(_ELSEWHERE):
        return
    known, text = _timm_names()
    stem = name.removeprefix("timm:").partition(".")[0]
    if not stem or text and not re.search(rf"\b{re.escape(stem)}\b", text):
        raise ValueError(unknown_name(name, known))


def unknown_name(
    name: str,  # not an encoder's
    known: "list[str]",  # names of timm
) -> str:
    "What to say about a wrong name."
    near = difflib.get_close_matches(name, [*OWN, *known], n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ";"
    return (
        f"encoder must be {', '.join(map(repr, OWN))}, a model of timm or an ONNX file, got {name!r}{hint} "
        "timm.list_models('*part*') lists timm's names"
    )


def _timm_names() -> "tuple[list[str], str]":  # without tags of weights; empty if timm's files are not where they were
    "The models that timm's source defines, and this source: every name that timm knows occurs in it."
    found = importlib.util.find_spec("timm")
    folder = Path(found.origin).parent / "models" if found and found.origin else Path()
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.glob("*.py")))
    return re.findall(r"^@register_model\s+def (\w+)", text, re.MULTILINE), text

"Names of encoders are checked without loading what they name."

import subprocess
import sys

import pytest

from dcacn_nb.encoders import names
from dcacn_nb.encoders.weights import PACKAGED


def test_every_name_of_timm_passes():
    "Also those of older versions, and with the tags of weights."
    import timm

    _, text = names._timm_names()
    words = set(text.replace("(", " ").replace(")", " ").replace('"', " ").replace("'", " ").replace(".", " ").split())
    every = {name.partition(".")[0] for name in [*timm.list_models(), *timm.list_pretrained()]}
    assert len(every) > 500 and every - words == set()
    assert tuple(PACKAGED) == names.OWN


@pytest.mark.parametrize("name", ["lite0", "timm:resnet18", "vit_small_patch14_dinov2.lvd142m", "open_clip:a/b"])
def test_names_that_may_be_right(name):
    names.check_name(name)


@pytest.mark.parametrize(
    "name, message",
    [
        ("lite9", "did you mean 'lite2'"),
        ("timm:resnet5", "did you mean 'resnet5"),
        ("", "must be 'lite0'"),
        ("a[b", "must be 'lite0'"),
        ("weights.pth", "must name an architecture"),
        ("none.onnx", "does not exist"),
    ],
)
def test_names_that_are_wrong(name, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        names.check_name(name)


def test_where_timm_is_elsewhere_its_names_are_left_to_it(monkeypatch):
    monkeypatch.setattr(names, "_timm_names", lambda: ([], ""))
    names.check_name("a_model_of_tomorrow")


def test_neither_torch_nor_timm_is_loaded():
    code = (
        "import sys; from dcacn_nb.encoders.names import check_name; check_name('resnet18'); import dcacn_nb.methods\n"
        "import dcacn_nb.method.config; print({'torch', 'timm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"

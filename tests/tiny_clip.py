"A small network of open_clip with random weights: it reads images and texts, and takes no download."

import json

import pytest
import torch
from safetensors.torch import save_file

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}


def tiny_clip(folder):
    "The network, its tokenizer, and the file that holds its weights; its name is `open_clip:tiny-test`."
    open_clip = pytest.importorskip("open_clip")
    (folder / "tiny-test.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "tiny-test.json")
    torch.manual_seed(0)
    model = open_clip.create_model("tiny-test", load_weights=False).eval()
    save_file(model.state_dict(), folder / "w.safetensors")
    return model, open_clip.get_tokenizer("tiny-test"), folder / "w.safetensors"

"Wrong arguments are said at once: before PyTorch is loaded, which takes many seconds on a cold disk."

import json
import subprocess
import sys

LINES = [
    "fit nowhere",
    "fit digits --method decc",
    "fit digits --set lr=fast",
    "fit digits --set learning_rate=1",
    "fit digits --set epochs=0",
    "fit digits --device gpu",
    "fit digits --encoder lite9",
    "fit digits --encoder weights.pth",
    "fit digits --encoder net.onnx",
    "fit digits --run-dir file",
    "fit images -k 2 --sort-into images/sorted",
    "fit flat",
    "demo --set lr=fast",
    "resume nowhere",
    "resume run --device gpu",
    "evaluate nowhere",
    "evaluate run --source nowhere",
    "predict nowhere images",
    "predict run nowhere",
    "report nowhere",
    "embed nowhere",
    "embed images --encoder lite9",
    "embed images -o x.csv",
    "similar nowhere 1",
    "similar images nowhere.png",
    "similar images 0 --encoder lite9",
    "duplicates nowhere",
    "duplicates images -o x.txt",
    "duplicates images --threshold 2",
    "export nowhere x.csv",
    "export run x.txt",
    "compare nowhere",
    "compare digits --methods decc",
    "compare digits --seeds x",
    "ablate nowhere",
    "ablate digits --factors balanse",
    "data download mnist",
    "data verify nowhere",
]
CODE = """
import json, sys
from typer.testing import CliRunner
from dcacn_nb.cli.app import app
found = {}
for line in json.load(sys.stdin):
    result = CliRunner().invoke(app, line.split())
    found[line] = (result.exit_code, "torch" in sys.modules, result.stderr)
    if "torch" in sys.modules:
        break
print(json.dumps(found))
"""


def test_wrong_arguments_are_said_before_torch_is_loaded(tmp_path):
    "In one process, so that the first command which loads it is caught."
    from PIL import Image

    for name in ("images/a/1.png", "images/b/1.png", "flat/1.png", "flat/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / name)
    (tmp_path / "file").touch()
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text('{"config": {}, "protocol": {"source": "digits"}}')
    (tmp_path / "run" / "checkpoints" / "step_00000001.safetensors").touch()
    done = subprocess.run(
        [sys.executable, "-c", CODE], input=json.dumps(LINES), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert {line: said for line, said in found.items() if said[0] != 2 or said[1]} == {}
    assert list(found) == LINES

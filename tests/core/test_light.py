"What is imported everywhere stays light."

import json
import subprocess
import sys

LIGHT = ("checks", "events", "files", "lazy", "text", "words")
DATA = ("catalogue", "listing", "pixels", "cache", "folders")


def test_neither_checks_nor_files_nor_events_import_torch():
    names = [*(f"dcacn_nb.core.{name}" for name in LIGHT), *(f"dcacn_nb.data.{name}" for name in DATA)]
    code = (
        f"import importlib, json, sys; found = {{}}\nfor name in {names}:\n"
        "    importlib.import_module(name)\n    found[name] = 'torch' in sys.modules\nprint(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == dict.fromkeys(names, False)

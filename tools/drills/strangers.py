"""Pictures from strangers: formats x modes x tags x sizes x names x damage, one by one, and as folders."""

import sys
from functools import partial
from pathlib import Path

from drills.children import Rules, mark, run
from drills.rows import Row

CHUNK, SHELF = 500, 60  # pictures a child reads one by one; pictures of a folder
MEMORY = 2 << 30  # bytes beyond what the child starts with


def drill(scratch: Path, seed: int, size: int, keep_going: bool = False) -> Row:
    "`size` pictures one by one, and every tenth of them in a folder that is loaded, embedded and clustered."
    row = Row("strangers' pictures", seed, keep_going)
    begin = 0
    while begin < size:
        numbers = range(begin, min(size, begin + CHUNK))
        child = run(partial(_one_by_one, scratch, seed, numbers), scratch, Rules((scratch,), limit=400, memory=MEMORY))
        last = numbers.stop - 1 if child.how == "done" else int(child.mark or begin)
        found = dict(child.value) if child.how == "done" else {last: str(child)}
        for number in range(begin, last + 1):
            row.attempt()
            if number in found:
                row.violation("hangs" if child.how == "hang" else "raw", f"picture {number}: {found[number]}")
        begin = last + 1
    for first in range(0, size // 10, SHELF):
        row.attempt()
        child = run(
            partial(_folder, scratch, seed, range(first, first + SHELF)), scratch, Rules((scratch,), memory=MEMORY)
        )
        if child.how != "done" or child.value:
            row.violation("hangs" if child.how == "hang" else "raw", f"folder of pictures {first} ff.: {child}")
        for text in child.outside:
            row.violation("outside", f"folder of pictures {first} ff.: {text}")
    return row.done("each read in three ways; folders of them loaded, embedded and clustered with --on-error skip")


def _odd():
    "The generator, which the tests of pictures share."
    sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))
    import odd_pictures

    return odd_pictures


def _one_by_one(scratch: Path, seed: int, numbers: range) -> list:
    "Numbers of the pictures that went wrong, and how."
    import warnings

    warnings.simplefilter("ignore")
    odd, wrong = _odd(), []
    for number in numbers:
        mark(str(number))
        picture = odd.odd_picture(seed, number)
        path = scratch / picture.name
        path.write_bytes(picture.data)
        try:
            odd.try_one(path, picture)
        except Exception as error:
            wrong.append((number, f"{picture.what}: {type(error).__name__}: {str(error)[:300]}"))
        path.unlink()
    return wrong


def _folder(scratch: Path, seed: int, numbers: range) -> "list[str]":
    "A folder of them through the commands; what went wrong."
    import shutil

    from dcacn_nb import embed, load_images
    from drills.encoder import GridEncoder
    from drills.worlds import TINY, command, plain_pictures

    plain_pictures()
    photos, run_dir = scratch / "photos", scratch / "run"
    for folder in (photos, run_dir):
        shutil.rmtree(folder, ignore_errors=True)
    _odd().write_odd(photos, numbers, seed)
    mark("load_images")
    count = len(load_images(photos, on_error="skip", progress=False))
    mark("embed")
    same = len(embed(photos, GridEncoder(), on_error="skip", progress=False)) == count
    mark("dcacn fit")
    line = ("--encoder", "none", "--epochs", 1, "--on-error", "skip", "--image-size", 8, "--run-dir", run_dir, *TINY)
    code = command("fit", photos, "-k", 2, *line)
    return [] if same and code == 0 else [f"as many embedded as loaded: {same}; exit code {code}"]

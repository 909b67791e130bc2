"""`make drill`: every drill, the table benchmarks/drills.csv and the page RELIABILITY.md.

PYTHONPATH=tools python -m drills [--short] [--only kills,fuzz] [--seed N] [--keep-going] [--write]"""

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path

from drills import disks, endurance, fuzz, hostile, kills, notebooks, pairs, reliability, strangers
from drills.rows import Row
from drills.worlds import warm_up

# drill -> (function, size of a long run, size of a short one)
DRILLS = {
    # of each kind of work at least two: one that fails by itself would be found in long runs only
    "kills": (kills.drill, 120, 12),
    "disks": (disks.drill, 48, 2),
    "hostile": (hostile.drill, 240, 2),
    "fuzz": (fuzz.drill, 100_000, 1000),
    "strangers": (strangers.drill, 3000, 30),
    "endurance": (endurance.drill, 200, 4),
    "pairs": (pairs.drill, 24, 2),
    "notebooks": (notebooks.drill, 1, 1),
}


def main() -> int:
    "Run the drills asked for; one line of JSON for each; exit code 1 after a violation."
    options = _options()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    rows = []
    with tempfile.TemporaryDirectory(prefix="dcacn-drill-") as scratch:
        warm_up(Path(scratch))
        for name in options.only or [name for name in DRILLS if name != "notebooks" or not options.short]:
            function, long, short = DRILLS[name]
            size = options.size or (short if options.short else long)
            folder = Path(scratch, name)
            folder.mkdir()
            row: Row = function(folder.resolve(), options.seed, size, options.keep_going)
            rows.append(row)
            print(json.dumps(row.values() | {"found": row.found}), flush=True)
    if options.write:
        reliability.write([row.values() for row in rows])
    return int(any(row.found for row in rows))


def _options() -> argparse.Namespace:
    "The command line."
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="the size of the test suite")
    parser.add_argument("--only", type=lambda text: text.split(","), help="drills, separated by commas")
    parser.add_argument("--size", type=int, help="another size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep-going", action="store_true", help="count violations; do not stop at the first")
    parser.add_argument("--write", action="store_true", help="write benchmarks/drills.csv and RELIABILITY.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

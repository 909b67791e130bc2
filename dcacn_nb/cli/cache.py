"""`dcacn cache`: what is kept of images that were read before, and how to make room."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from dcacn_nb.cli import options as o
from dcacn_nb.cli.command import Command, Commands
from dcacn_nb.cli.output import answer, guarded, rows_table, say

app = typer.Typer(cls=Commands, help="What is kept of images that were read before: list it, or clear it.")
SHOWN = 30  # entries
_DAY = 86400  # seconds

OlderThan = Annotated[
    float, typer.Option("--older-than", min=0, metavar="DAYS", help="Only what was not used for so many days.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.callback(invoke_without_command=True)
@guarded
def listing(ctx: typer.Context, as_json: o.AsJson = False) -> None:
    "List what the cache holds: decoded images, features, networks. All of it can be made again."
    if ctx.invoked_subcommand is not None:
        return
    from dcacn_nb.data.cache import default_cache, size_in_words
    from dcacn_nb.data.kept import kept_entries

    found = kept_entries()
    rows = [
        {"kind": entry.kind, "size": size_in_words(entry.size), "used": _ago(entry.age), "source": entry.source}
        for entry in found[:SHOWN]
    ]
    if rows:
        say(rows_table(rows, kind="kind", size="size", used="last used", source="images or network"))
    if len(found) > SHOWN:
        say(f"… and {len(found) - SHOWN:,} smaller ones")
    total = sum(entry.size for entry in found)
    count = f"{len(found):,} {'entry' if len(found) == 1 else 'entries'}"
    say(f"{count}, {size_in_words(total)} in {default_cache()}" + ("; dcacn cache clear makes room" if found else ""))
    answer({"folder": default_cache(), "bytes": total, "entries": [_plain(entry) for entry in found]})


@app.command(cls=Command)
@guarded
def clear(older_than: OlderThan = 0, yes: Yes = False, as_json: o.AsJson = False) -> None:
    "Delete what the cache holds, except what another process uses. Images and runs are not touched."
    from dcacn_nb.data.cache import default_cache, size_in_words
    from dcacn_nb.data.kept import IN_USE, kept_entries
    from dcacn_nb.data.kept import clear as clear_entries

    found = [entry for entry in kept_entries() if entry.age >= older_than * _DAY]
    total = size_in_words(sum(entry.size for entry in found))
    if not found:
        say(f"Nothing to delete in {default_cache()}")
        answer({"folder": default_cache(), "removed": 0, "bytes": 0, "in_use": 0, "failed": 0})
        return
    if not yes:
        typer.confirm(f"Delete {len(found):,} entries ({total}) in {default_cache()}?", abort=True, err=as_json)
    removed, left = clear_entries(found)
    freed = sum(entry.size for entry in removed)
    kept = [f"{count:,} kept ({why})" for why, count in Counter(left.values()).items()]
    say("; ".join([f"{len(removed):,} deleted, {size_in_words(freed)} freed", *kept]))
    in_use = sum(why == IN_USE for why in left.values())
    done = {"folder": default_cache(), "removed": len(removed), "bytes": freed, "in_use": in_use}
    answer(done | {"failed": len(left) - in_use})
    if len(left) > in_use:
        raise typer.Exit(1)


def _plain(entry) -> dict:
    "An entry as plain values."
    facts = {"path": Path(entry.path), "kind": entry.kind, "bytes": entry.size}
    return facts | {"age_days": round(entry.age / _DAY, 2), "source": entry.source}


def _ago(seconds: float) -> str:
    "How long ago, as people say it."
    for unit, length in (("day", _DAY), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' * (count > 1)} ago"
    return "just now"

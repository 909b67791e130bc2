"""Commands about the data sets known by name: list, download, verify."""

from pathlib import Path
from typing import Annotated

import typer

from dcacn_nb.cli import options as o
from dcacn_nb.cli.command import Command, Commands
from dcacn_nb.cli.output import answer, checking, guarded, rows_table, say
from dcacn_nb.cli.reading import check_source

app = typer.Typer(cls=Commands, no_args_is_help=True, help="The data sets known by name: list, download, verify.")
Known = Annotated[str, typer.Argument(help="A known source.", show_default=False)]


@app.command("list", cls=Command)
@guarded
def list_sources(as_json: o.AsJson = False) -> None:
    "The data sets that `dcacn fit` knows by name."
    from dcacn_nb.data.catalogue import known_sources

    rows = known_sources()
    command = "dcacn data download {name}"
    shown = [row | {"how": row["how"].replace("download=True", command.format(**row))} for row in rows]
    titles = dict(name="name", images="images", classes="classes", px="px")
    say(rows_table(shown, **titles, how="how to get it", licence="licence, source"))
    answer({"sources": rows})


@app.command(cls=Command)
@guarded
def download(source: Known, root: o.Root = Path("data"), as_json: o.AsJson = False) -> None:
    "Download a known source; files that exist are not fetched again."
    from dcacn_nb.core.checks import check_in
    from dcacn_nb.data.catalogue import SOURCES, SYNSETS

    with checking():
        check_in("source", source, list(SOURCES))
        if source in SYNSETS:
            raise ValueError(f"{source} cannot be downloaded: {SOURCES[source][-1]}")
        from dcacn_nb.data.loading import load_images

    images = load_images(source, root=root, download=True)
    say(repr(images))
    answer({"source": source, "root": root, "n_images": len(images), "protocol": images.protocol})


@app.command(cls=Command)
@guarded
def verify(source: o.Source, root: o.Root = Path("data"), as_json: o.AsJson = False) -> None:
    "What exists of a source, file by file; exit code 1 if something is missing or damaged."
    check_source(source)
    from dcacn_nb.data.sources import verify as verify_source

    with checking():
        rows = verify_source(source, root)
    bad = [row["name"] for row in rows if row["status"] in ("missing", "damaged")]
    say(rows_table(rows, name="file or class", status="status"))
    answer({"source": source, "complete": not bad, "files": rows})
    if bad:
        raise typer.Exit(1)

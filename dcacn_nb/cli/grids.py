"""`dcacn compare` and `dcacn ablate`: many runs from one line, stopped and gone on with at will, and the tables and pictures that they leave."""

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from dcacn_nb.cli.output import answer, checking, complain, guarded, options, rows_table, say
from dcacn_nb.cli.runs import OnError, Unreadable, check_settings, open_source, parse_settings, whole_path

METHODS = "kmeans,ae,dec,dcec,iic,pica,simclr,cc,dcacn"  # of a comparison, unless told otherwise


def parse_seeds(
    text: str,  # "0-4" or "0,3,7" or "5"
) -> "list[int]":
    "Seeds from text."
    try:
        first, dash, last = text.partition("-")
        seeds = list(range(int(first), int(last) + 1)) if dash else [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--seeds {text}: write 0-4, or 0,3,7") from None
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds {text}: give at least one seed, each once, and none below 0")
    return seeds


class Budget(str, Enum):
    "What is equal for all methods."

    epochs = "epochs"
    images = "images"
    seconds = "seconds"


Source = Annotated[
    str, typer.Argument(help="A known source (see: dcacn data list) or a folder of images.", show_default=False)
]
Folder = Annotated[
    Path | None,
    typer.Option(help="The grid's folder, new or to go on with (default: runs/COMMAND-SOURCE).", show_default=False),
]
Clusters = Annotated[
    int | None,
    typer.Option("--clusters", "-k", help="Number of clusters (default: the number of classes).", show_default=False),
]
Seeds = Annotated[str, typer.Option(help="The same for all: 0-4, or 0,3,7.")]
BudgetKind = Annotated[
    Budget,
    typer.Option("--budget", help="Equal for all: epochs; images through the network (each view counts); or seconds."),
]
Amount = Annotated[
    float | None,
    typer.Option(
        help="Of the budget: epochs, passes an image, or seconds (default: what DCACN's preset uses).",
        show_default=False,
    ),
]
Base = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of all runs; repeatable.", show_default=False),
]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")]
Root = Annotated[Path, typer.Option(help="Folder of the known sources.")]
Limit = Annotated[int | None, typer.Option(help="Use a random subset of this many images.", show_default=False)]
Side = Annotated[int | None, typer.Option(help="Side to bring the images to, pixels.", show_default=False)]
Upright = Annotated[
    bool | None, typer.Option("--upright/--mirror", help="Images that must not be mirrored.", show_default=False)
]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, everything else on standard error.")
]


class PaperSet(str, Enum):
    "The images whose column of the paper's Table 2 is quoted."

    imagenet = "ImageNet-10"
    cifar = "CIFAR-10"
    stl = "STL-10"


def _images_and_clusters(source: str, clusters: "int | None", **reading):
    "The images, and how many clusters are looked for."
    images = open_source(whole_path(source), extra=False, seed=0, **reading)
    if clusters is None:
        if images.labels is None:
            raise ValueError("the images have no labels to count classes by; give the number of clusters, e.g. -k 10")
        clusters = len(set(images.labels.tolist()))
    return images, clusters


def _budget_in_words(kind: str, amount: "float | None", images, clusters: int, base: dict) -> str:
    "How the table calls the budget; the preset's amount if none was given."
    from dcacn_nb.method.config import preset

    reference = preset("default", images, clusters, **base)
    if amount is None:
        amount = reference.epochs * (1 if kind == "epochs" else 2 + reference.n_local)
    return {
        "epochs": f"{amount:g} epochs",
        "images": f"{amount:g} views of each image",
        "seconds": f"{amount:g} seconds",
    }[kind]


def _run(cells, images, folder: Path, budget: str, retry_failed: bool):
    "Run the grid with a line for each cell; the table of what is finished."
    from dcacn_nb.compare.grid import failures, finished, run_grid
    from dcacn_nb.runs.progress import ProgressBar

    number = {cell.folder: i for i, cell in enumerate(cells, start=1)}

    def watchers(cell):
        complain(f"{number[cell.folder]}/{len(cells)}: {cell.folder.as_posix()}")
        return [ProgressBar()] if sys.stderr.isatty() else []

    done = sum(finished(folder / cell.folder) for cell in cells)
    say(f"{len(cells)} runs in {folder}" + (f", {done} of them done" if done else "") + f"; budget: {budget}")
    with checking(RuntimeError):
        table = run_grid(
            cells, images, folder, labels=images.labels, budget=budget, observers=watchers, retry_failed=retry_failed
        )
    for path, error in failures(folder).items():
        complain(f"failed: {path}: {error}")
    return table


def _caption(table, dataset: "str | None") -> str:
    "What the figures of a table are, and what the quoted ones are not."
    told = f"Ours: {table.protocol.iloc[0]}; {table.budget.iloc[0]}; last epoch; mean ± standard deviation over seeds, in percent."
    return told + (
        f" The paper's columns are quoted: {dataset}, with encoders, views and budgets of their own." if dataset else ""
    )


def write_tables(
    table,  # as `collect` gives it, not empty
    folder: Path,  # where the files go
    dataset: "str | None",  # whose column of Table 2 is quoted beside; None: none is
) -> "list[Path]":  # what was written
    "Tables and pictures of a grid; without scores, the runs alone."
    import matplotlib.pyplot as plt

    from dcacn_nb.compare.tables import (
        beside_the_paper,
        paired_differences,
        plot_comparison,
        plot_differences,
        summarise,
        to_latex,
        to_markdown,
    )
    from dcacn_nb.core.files import atomic_write

    texts, figures = {"runs.csv": table.to_csv(index=False)}, {}
    if table.acc.notna().any():
        summary, rows = summarise(table), list(dict.fromkeys(zip(table.method, table.setting)))
        beside, caption = beside_the_paper(summary, dataset), _caption(table, dataset)
        texts |= {
            "summary.csv": summary.to_csv(index=False),
            "table.md": f"{to_markdown(beside)}\n{caption}\n",
            "table.tex": f"% {caption}\n{to_latex(beside)}",
        }
        figures["comparison.png"] = plot_comparison(table)
        reference = ("dcacn", "default") if ("dcacn", "default") in rows else rows[0]
        differences = paired_differences(table, reference)
        if len(differences):
            texts["differences.csv"] = differences.to_csv(index=False)
            figures["differences.png"] = plot_differences(differences, ", ".join(reference))
    for name, text in texts.items():
        atomic_write(folder / name, text.encode())
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=150)
        plt.close(figure)
    return [folder / name for name in [*texts, *figures]]


def _tell(table, folder: Path, dataset: "str | None") -> None:
    "The summary for people, the rows for machines, and where the files are."
    from dcacn_nb.compare.tables import summarise

    files = write_tables(table, folder, dataset) if len(table) else []
    if len(table) and table.acc.notna().any():
        rows = summarise(table).to_dict("records")
        spread = lambda row, name: f" ± {row[f'{name}_std']:.3f}" if row["seeds"] > 1 else ""  # one seed has none
        shown = [
            {name: f"{row[name]:.3f}{spread(row, name)}" for name in ("acc", "nmi", "ari")}
            | {"method": row["method"], "setting": row["setting"], "seeds": row["seeds"]}
            for row in rows
        ]
        say(rows_table(shown, method="method", setting="setting", seeds="seeds", acc="ACC", nmi="NMI", ari="ARI"))
        say(
            "Best first; mean ± standard deviation over seeds. Differences seed by seed, with intervals: differences.csv"
        )
    elif len(table):
        shown = table.sort_values("view_information", ascending=False).assign(
            view_information=table.view_information.map("{:.3f}".format)
        )
        say(
            rows_table(
                shown.to_dict("records"),
                method="method",
                setting="setting",
                seed="seed",
                view_information="view information",
            )
        )
        say(
            "No labels, so no scores. View information (0 to 1) tells how well two views of an image agree on its cluster; whether the clusters are those you want, the reports show."
        )
    for path in files:
        say(f"Written: {path}")
    answer({"folder": folder, "runs": table.to_dict("records"), "files": files})


@guarded
def compare(
    source: Source,
    methods: Annotated[str, typer.Option(help="Names, with commas between.")] = METHODS,
    seeds: Seeds = "0-4",
    folder: Folder = None,
    clusters: Clusters = None,
    budget: BudgetKind = Budget.epochs,
    amount: Amount = None,
    settings: Base = None,
    retry_failed: Retry = False,
    paper: Annotated[PaperSet, typer.Option(help="The column of the paper's Table 2 to quote.")] = PaperSet.cifar,
    root: Root = Path("data"),
    limit: Limit = None,
    image_size: Side = None,
    upright: Upright = None,
    on_error: Unreadable = OnError.error,
    as_json: AsJson = False,
) -> None:
    "Run several methods on the same images, views, encoder and budget, over seeds, and tabulate them."
    from dcacn_nb.compare.grid import make_grid

    options.json = as_json
    with checking():
        base, chosen, numbers = (
            parse_settings(settings or []),
            [name.strip() for name in methods.split(",")],
            parse_seeds(seeds),
        )
        for name in chosen:
            check_settings(base, clusters, name)
        images, clusters = _images_and_clusters(
            source, clusters, root=str(root), limit=limit, image_size=image_size, on_error=on_error.value
        )
        told = _budget_in_words(budget.value, amount, images, clusters, base)
        cells = make_grid(
            images, clusters, chosen, seeds=numbers, budget=budget.value, amount=amount, upright=upright, **base
        )
    where = folder or Path("runs", f"compare-{Path(source).name}")
    _tell(_run(cells, images, where, told, retry_failed), where, paper.value)


@guarded
def ablate(
    source: Source,
    seeds: Seeds = "0-4",
    full: Annotated[bool, typer.Option("--full", help="All combinations instead of one change at a time.")] = False,
    factors: Annotated[
        str,
        typer.Option(
            help="Of multi-crop, attention, decoupling, 'cluster axis' and balance, with commas between (default: all)."
        ),
    ] = "",
    folder: Folder = None,
    clusters: Clusters = None,
    budget: BudgetKind = Budget.epochs,
    amount: Amount = None,
    settings: Base = None,
    retry_failed: Retry = False,
    root: Root = Path("data"),
    limit: Limit = None,
    image_size: Side = None,
    upright: Upright = None,
    on_error: Unreadable = OnError.error,
    as_json: AsJson = False,
) -> None:
    "Switch each of DCACN's ideas off alone, or in all combinations, over seeds, and tabulate what each is worth."
    from dcacn_nb.compare.grid import FACTORS, full_factorial, make_grid, one_at_a_time
    from dcacn_nb.core.checks import check_in

    options.json = as_json
    with checking():
        base, names = (
            parse_settings(settings or []),
            [name.strip() for name in factors.split(",") if name.strip()] or list(FACTORS),
        )
        chosen, numbers = (
            {check_in("--factors", name, list(FACTORS)): FACTORS[name] for name in names},
            parse_seeds(seeds),
        )
        check_settings(base, clusters)
        images, clusters = _images_and_clusters(
            source, clusters, root=str(root), limit=limit, image_size=image_size, on_error=on_error.value
        )
        told = _budget_in_words(budget.value, amount, images, clusters, base)
        cells = make_grid(
            images,
            clusters,
            ["dcacn"],
            full_factorial(chosen) if full else one_at_a_time(chosen),
            numbers,
            budget=budget.value,
            amount=amount,
            upright=upright,
            **base,
        )
    where = folder or Path("runs", f"ablate-{Path(source).name}")
    _tell(_run(cells, images, where, told, retry_failed), where, None)

"""Commands that run many trainings from one line, compare and ablate, and `grid`, which shows how far these are.

The same line again resumes a grid; in a second terminal, it shares the work."""

import contextlib
import importlib.util
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dcacn_nb.cli import options as o
from dcacn_nb.cli.output import answer, call, checking, complain, guarded, rows_table, say
from dcacn_nb.cli.reading import (
    check_encoder,
    check_options,
    check_source,
    count_classes,
    open_source,
    pick_encoder,
    safe_name,
    whole_path,
)
from dcacn_nb.cli.settings import check_settings, check_together, given, parse_seeds, parse_settings

HEADS = "kmeans,spherical_kmeans,gmm,umap_kmeans,scan,temi,turtle,dcacn"  # the same on features
METHODS = "kmeans,ae,dec,dcec,iic,pica,simclr,cc,dcacn"  # of a comparison, by default
QUOTED = {"cifar10": "CIFAR-10", "stl10": "STL-10", "imagenet10": "ImageNet-10"}  # source -> its name in the paper
FACTORS = "multi-crop,attention,decoupling,cluster axis,balance,head start"  # of an ablation, by default


@guarded
def compare(
    source: o.Source,
    encoder: o.EncoderName = "auto",
    encoder_weights: o.EncoderWeights = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Names, with commas between (default: all, as far as they work on images or features).",
            show_default=False,
            rich_help_panel=o.GRID,
        ),
    ] = None,
    seeds: o.Seeds = "0-4",
    folder: o.GridFolder = None,
    clusters: o.FixedClusters = None,
    budget: o.BudgetKind = o.Budget.epochs,
    amount: o.Amount = None,
    settings: o.Settings = None,
    on: o.On = o.Engine.local,
    jobs: o.Jobs = None,
    slurm: o.Resources = None,
    wait: o.Wait = True,
    retry_failed: o.Retry = False,
    paper: o.Quoted = None,
    root: o.Root = Path("data"),
    limit: o.Limit = None,
    image_size: o.ImageSize = None,
    upright: o.Upright = None,
    on_error: o.Unreadable = o.OnError.error,
    as_json: o.AsJson = False,
) -> None:
    "Run several methods on the same images, views, encoder and budget, over seeds, and tabulate them."
    with checking(ModuleNotFoundError):
        numbers, names = parse_seeds(seeds), _names(METHODS if methods is None else methods)
        base = parse_settings(settings, n_clusters=clusters, image_size=image_size)
        for name in names:
            check_settings(base, clusters, name)
        place = Place(on.value, jobs, _resources(slurm), wait)
        place.check()
        check_source(source)
        check_options(source)
        weights = check_encoder(encoder, encoder_weights)
        check_together(base)
        asked = base | given(image_size=image_size, upright=upright)
        encoder = pick_encoder(source, encoder, _telling(names), asked)
        reading = dict(root=str(root), limit=limit, image_size=image_size, on_error=on_error.value)
        images = _images(source, encoder=encoder, **reading, **weights)
        if methods is None and hasattr(images, "features"):
            names = _heads()
        clusters = clusters or count_classes(images)
        plan = Plan(budget.value, amount, upright, base)
        cells = plan.cells(images, clusters, names, {"default": {}}, numbers)
    where = folder or Path("runs", f"compare-{safe_name(source)}")
    quoted = paper.value if paper else QUOTED.get(source)
    _present(_run(cells, images, where, plan.in_words(images, clusters), retry_failed, place), where, quoted)


@guarded
def ablate(
    source: o.Source,
    seeds: o.Seeds = "0-4",
    full: Annotated[
        bool, typer.Option("--full", help="All combinations, not one change at a time.", rich_help_panel=o.GRID)
    ] = False,
    factors: Annotated[str, typer.Option(help="Ideas to switch off or to vary.", rich_help_panel=o.GRID)] = FACTORS,
    folder: o.GridFolder = None,
    clusters: o.FixedClusters = None,
    budget: o.BudgetKind = o.Budget.epochs,
    amount: o.Amount = None,
    settings: o.Settings = None,
    on: o.On = o.Engine.local,
    jobs: o.Jobs = None,
    slurm: o.Resources = None,
    wait: o.Wait = True,
    retry_failed: o.Retry = False,
    root: o.Root = Path("data"),
    limit: o.Limit = None,
    image_size: o.ImageSize = None,
    upright: o.Upright = None,
    on_error: o.Unreadable = o.OnError.error,
    as_json: o.AsJson = False,
) -> None:
    "Switch off each of DCACN's ideas alone, or in all combinations, over seeds, and tabulate what each is worth."
    from dcacn_nb.core.checks import check_in

    with checking(ModuleNotFoundError):
        numbers = parse_seeds(seeds)
        base = parse_settings(settings, n_clusters=clusters, image_size=image_size)
        chosen = [check_in("--factors", name, FACTORS.split(",")) for name in _names(factors)]
        check_settings(base, clusters)
        place = Place(on.value, jobs, _resources(slurm), wait)
        place.check()
        check_source(source)
        check_options(source)
        check_together(base)
        images = _images(source, root=str(root), limit=limit, image_size=image_size, on_error=on_error.value)
        clusters = clusters or count_classes(images)
        plan = Plan(budget.value, amount, upright, base)
        cells = plan.cells(images, clusters, ["dcacn"], _ablation(chosen, full), numbers)
    where = folder or Path("runs", f"ablate-{safe_name(source)}")
    _present(_run(cells, images, where, plan.in_words(images, clusters), retry_failed, place), where, None)


def _telling(methods: "list[str]") -> str:
    "The method that says most about whether there is an encoder: one on images alone, else on features alone."
    from dcacn_nb.methods import method_names

    on_images, on_features = method_names(), method_names(frozen=True)
    alone = [name for name in methods if name not in on_features] + [name for name in methods if name not in on_images]
    return (alone or methods)[0]


def _heads() -> "list[str]":
    "The heads of a comparison, by default; what is not installed is left out with a word."
    names = HEADS.split(",")
    if importlib.util.find_spec("umap") is None:
        complain("umap_kmeans is left out: pip install umap-learn")
        names.remove("umap_kmeans")
    return names


def _images(source: str, **reading):
    "The images of a grid: without the unlabelled extra ones, and the same subset for all seeds."
    return open_source(whole_path(source), extra=False, seed=0, **reading)


def _names(text: str) -> "list[str]":
    "Names from a text with commas between."
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ValueError(f"give at least one name, got {text!r}")
    return names


def _ablation(names: "list[str]", full: bool) -> dict:
    "The settings of an ablation: label -> changes."
    from dcacn_nb.compare.cells import FACTORS, full_factorial, one_at_a_time

    chosen = {name: FACTORS[name] for name in names}
    return full_factorial(chosen) if full else one_at_a_time(chosen)


@dataclass(frozen=True)
class Plan:
    "What all cells of a grid share."

    budget: str  # "epochs", "images" or "seconds"
    amount: "float | None"  # None: what DCACN's preset uses
    upright: "bool | None"
    base: dict  # settings of all runs

    def cells(self, images, clusters: int, methods: "list[str]", settings: dict, seeds: "list[int]") -> list:
        "The cells of the grid."
        from dcacn_nb.compare.cells import make_grid

        shared = dict(budget=self.budget, amount=self.amount, upright=self.upright, **self.base)
        return make_grid(images, clusters, methods, settings, seeds, **shared)

    def in_words(self, images, clusters: int) -> str:
        "Name of the budget in the table; the preset's amount if none was given; heads on features have their own."
        if hasattr(images, "features") and self.amount is None and "epochs" not in self.base:
            return "each head's own settings"
        from dcacn_nb.compare.cells import default_amount
        from dcacn_nb.method.config import preset

        amount = self.amount
        if amount is None:
            amount = default_amount(self.budget, preset("default", images, clusters, **self.base))
        unit = {"epochs": "epochs", "images": "views of each image", "seconds": "seconds"}[self.budget]
        return f"{amount:g} {unit}"


@dataclass(frozen=True)
class Place:
    "Where the runs of a grid are computed."

    on: str  # "local", "joblib" or "slurm"
    jobs: "int | None"  # at a time, with joblib
    slurm: dict  # resources of each job
    wait: bool

    def check(self) -> None:
        "Refuse options that belong to another engine, and an engine that is not there."
        for option, value, engine in (("--jobs", self.jobs, "joblib"), ("--slurm", self.slurm, "slurm")):
            if value and self.on != engine:
                raise ValueError(f"{option} is for --on {engine}, got --on {self.on}")
        if not self.wait and self.on != "slurm":
            raise ValueError(f"--no-wait is for --on slurm, got --on {self.on}")
        if self.on == "slurm":
            from dcacn_nb.compare.engines import check_engine

            check_engine(self.on, self.slurm)

    @property
    def options(self) -> dict:
        "For `run_grid`."
        return {"on": self.on, "resources": self.slurm, "wait": self.wait, "progress": self.on != "local"}

    def at_work(self):
        "The context in which the grid runs: it sets how many runs joblib starts at a time."
        if self.on != "joblib":
            return contextlib.nullcontext()
        import joblib

        from dcacn_nb.compare.engines import workers_of_this_machine

        return joblib.parallel_config("loky", n_jobs=self.jobs or workers_of_this_machine())


def _resources(pairs: "list[str] | None") -> dict:
    "The `--slurm` options as a dictionary: whole numbers and numbers where they are such, else words."
    found: dict = {}
    for pair in pairs or []:
        name, _, text = pair.partition("=")
        if not (name and text):
            raise ValueError(f"--slurm {pair}: write NAME=VALUE, e.g. --slurm timeout_min=240")
        found[name] = text
        for kind in (float, int):
            with contextlib.suppress(ValueError):
                found[name] = kind(text)
    return found


def _run(cells, images, folder: Path, budget: str, retry_failed: bool, place: Place):
    "Run the grid with a line for each cell; the table of what is finished."
    from dcacn_nb.compare.grid import count_finished, failures, run_grid
    from dcacn_nb.compare.progress import grid_progress
    from dcacn_nb.data.unread import UNREADABLE, keep_unread, unread_in_words
    from dcacn_nb.runs.progress import ProgressBar

    call.on_interrupt = "The same command resumes the grid."
    if place.on == "slurm":
        call.on_interrupt = f"The jobs stay in the queue. How far they are: dcacn grid {folder}"
    number = {cell.folder: i for i, cell in enumerate(cells, start=1)}

    def observers(cell):
        complain(f"{number[cell.folder]}/{len(cells)}: {cell.folder.as_posix()} ({grid_progress(folder)})")
        return [ProgressBar()] if sys.stderr.isatty() else []

    done = count_finished(cells, folder)
    say(f"{len(cells)} runs in {folder}" + (f", {done} of them done" if done else "") + f"; budget: {budget}")
    options = dict(labels=images.labels, budget=budget, retry_failed=retry_failed, **place.options)
    if place.on == "local":
        options["observers"] = observers
    with checking(RuntimeError), place.at_work():
        table = run_grid(cells, images, folder, **options)
    _say_failures(failures(folder))
    for line in unread_in_words(images.protocol, len(images), keep_unread(images.protocol, folder / UNREADABLE)):
        say(line)
    return table


def _say_failures(found: "dict[str, str]") -> None:
    "One line for each cell that failed."
    for path, error in found.items():
        complain(f"failed: {path}: {error}")


@guarded
def grid(
    folder: o.OneGrid,
    paper: o.Quoted = None,
    as_json: o.AsJson = False,
) -> None:
    "How far a grid is, with the time left, and the tables of its finished runs: from its run folders, on any machine."
    from dcacn_nb.compare.grid import collect, failures
    from dcacn_nb.compare.progress import grid_progress

    with checking():
        state, table = grid_progress(folder), collect(folder)
    say(str(state))
    _say_failures(failures(folder))
    _present(table, folder, paper.value if paper else None, counts=state.counts, seconds_left=state.seconds_left)


def _present(table, folder: Path, dataset: "str | None", **more) -> None:
    "The summary for people, the rows for machines, and where the files are."
    from dcacn_nb.compare.tables import paired_differences, summarise

    scores = None
    if len(table) and table.acc.notna().any():
        scores = summarise(table), paired_differences(table, _reference(table))  # once: the first may warn
    files = write_tables(table, folder, dataset, scores) if len(table) else []
    if scores is not None:
        _say_scores(*scores)
    elif len(table):
        _say_label_free(table)
    for path in files:
        say(f"Written: {path}")
    answer({"folder": folder, "runs": table.to_dict("records"), "files": files} | more)


def _reference(table) -> "tuple[str, str]":
    "The method and setting that others are compared with."
    rows = list(zip(table.method, table.setting))
    return ("dcacn", "default") if ("dcacn", "default") in rows else rows[0]


def _say_scores(summary, differences) -> None:
    "Means and standard deviations over seeds."
    _say_means(summary, acc="ACC", nmi="NMI", ari="ARI")
    say("Best first; mean ± standard deviation over seeds." + _about_differences(differences))


def _say_means(summary, **titles: str) -> None:
    "One row for each method and setting: of each figure in `titles`, the mean and, of several seeds, the spread."

    def spread(row: dict, name: str) -> str:
        if math.isnan(row[name]):
            return "–"
        return f"{row[name]:.3f}" + (f" ± {row[f'{name}_std']:.3f}" if row["seeds"] > 1 else "")  # one seed has none

    rows = [row | {name: spread(row, name) for name in titles} for row in summary.to_dict("records")]
    say(rows_table(rows, method="method", setting="setting", seeds="seeds", **titles))


def _about_differences(differences) -> str:
    "What differences.csv holds: there is none of a single row, and no interval of few seeds."
    if not len(differences):
        return ""
    intervals = ", with intervals" if differences.low.notna().any() else ""
    return f" Differences seed by seed{intervals}: differences.csv"


def _say_label_free(table) -> None:
    "Means of what tells without labels."
    from dcacn_nb.compare.tables import summarise

    pair = "view" if table.view_information.notna().any() else "neighbour"
    figure = f"{pair}_information"
    _say_means(summarise(table, (figure,)), **{figure: f"{pair} information"})
    say("Best first; mean ± standard deviation over seeds; each run: runs.csv")
    two = "two views of an image" if pair == "view" else "an image and its nearest neighbours"
    say(
        f"No labels, so no scores. {pair.capitalize()} information (0 to 1) measures how well {two} agree on the "
        "cluster. Whether the clusters are those you want, only the reports show."
    )


def write_tables(
    table,  # as `collect` returns it, not empty
    folder: Path,  # where the files go
    dataset: "str | None",  # the paper's images to quote beside; None: no quotation
    scores,  # the table's summary and differences, as `compare.tables` makes them; None: no run has scores
) -> "list[Path]":  # what was written
    "Tables and pictures of a grid; without scores, the runs alone."
    from dcacn_nb.core.files import atomic_write

    texts, pictures = {"runs.csv": table.to_csv(index=False)}, {}
    if scores is not None:
        more, pictures = _score_files(table, *scores, dataset)
        texts |= more
    for name, text in texts.items():
        atomic_write(folder / name, text.encode())
    for name, picture in pictures.items():
        picture.save(folder / name)
    return [folder / name for name in [*texts, *pictures]]


def _score_files(table, summary, differences, dataset: "str | None") -> "tuple[dict, dict]":
    "File name -> text, and file name -> picture, of a table with scores."
    from dcacn_nb.compare.figures import plot_comparison, plot_differences
    from dcacn_nb.compare.paper import beside_the_paper, to_latex, to_markdown

    beside, caption = beside_the_paper(summary, dataset), _caption(table, dataset)
    texts = {
        "summary.csv": _csv(summary),
        "table.md": f"{to_markdown(beside)}\n{caption}\n",
        "table.tex": f"% {caption}\n{to_latex(beside)}",
    }
    pictures = {"comparison.png": plot_comparison(table, summary=summary)}
    if len(differences):
        texts["differences.csv"] = _csv(differences)
        pictures["differences.png"] = plot_differences(differences, ", ".join(_reference(table)))
    return texts, pictures


def _csv(table) -> str:
    "Means and differences with six digits; what is zero but for rounding is zero."
    parts = {name: table[name].round(12) + 0.0 for name in table.select_dtypes("float")}  # + 0.0: no -0
    return table.assign(**parts).to_csv(index=False, float_format="%.6g")


def _caption(table, dataset: "str | None") -> str:
    "What the figures of a table are, and what the quoted ones are not."
    ours = (
        f"Ours: {table.protocol.iloc[0]}; {table.budget.iloc[0]}; last epoch; "
        "mean ± standard deviation over seeds, in percent."
    )
    quoted = f" The paper's columns are quoted: {dataset}, with other encoders, views and budgets."
    return ours + (quoted if dataset else "")

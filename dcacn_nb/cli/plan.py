"""`dcacn plan`: what a run would take, before it is started."""

from pathlib import Path
from typing import Annotated

import typer

from dcacn_nb.cli import options as o
from dcacn_nb.cli.output import answer, checking, complain, guarded, rows_table, say
from dcacn_nb.cli.reading import check_options, check_source, count_classes, open_source, pick_encoder, whole_path
from dcacn_nb.cli.running import configure
from dcacn_nb.cli.settings import check_settings, check_together, given, parse_settings

_FROZEN = "a run takes a minute or two for a few thousand photos, and needs no plan"


@guarded
def plan(
    source: o.Source,
    method: o.MethodName = "dcacn",
    preset: o.PresetName = o.Preset.default,
    clusters: o.FixedClusters = None,
    settings: o.Settings = None,
    changes: Annotated[
        bool, typer.Option("--changes", help="Measure other batches, crops, widths and sizes of crops as well.")
    ] = False,
    images: Annotated[
        int | None, typer.Option("--images", min=2, help="Calculate for this many images.", show_default=False)
    ] = None,
    ranks: Annotated[
        int | None,
        typer.Option(
            "--ranks",
            min=1,
            help="Calculate for this many GPUs and as many times the batch: start the run with --batch-size as many "
            "times as large. The larger loss is not counted.",
            show_default=False,
        ),
    ] = None,
    root: o.Root = Path("data"),
    limit: o.Limit = None,
    image_size: o.ImageSize = None,
    upright: o.Upright = None,
    on_error: o.Unreadable = o.OnError.error,
    as_json: o.AsJson = False,
) -> None:
    "Measure a few steps of a run, and say how long the whole would take here, with how much memory and disk."
    with checking():
        base = parse_settings(settings, n_clusters=clusters, image_size=image_size)
        check_settings(base, clusters, method)
        check_together(base)
        check_source(source)
        check_options(source)
        encoder = pick_encoder(source, "auto", method, base | given(image_size=image_size, upright=upright))
        if encoder is not None:
            complain(f"This plan is for training from scratch, `fit --encoder none`: with {encoder}, {_FROZEN}.")
        reading = dict(root=str(root), limit=limit, image_size=image_size, on_error=on_error.value)
        found = open_source(whole_path(source), extra=False, seed=0, **reading)
        clusters = clusters or count_classes(found)
    config = configure(found, clusters, False, preset.value, upright, base, method)
    from dcacn_nb.compare.planning import plan as measure
    from dcacn_nb.compare.planning import plan_changes

    complain("Measuring a few steps ...")
    with checking():
        made = {"as asked": measure(found, config, method)}
        if changes:
            made |= plan_changes(found, config, method)
        if images or ranks:
            made["calculated"] = made["as asked"].scaled(images, ranks)
    say("\n".join(str(made[name]) for name in ("as asked", "calculated") if name in made))
    if changes:
        say(_table(made))
    say("Without the report, and if the machine stays as busy as it is now.")
    answer({name: one.as_dict() for name, one in made.items()})


def _table(made: dict):
    "One row for each change."
    from tqdm import tqdm

    rows = [
        {
            "name": name,
            "step": one.step_time,
            "time": tqdm.format_interval(one.seconds),
            "memory": f"{one.memory / 2**30:.2f} GiB",
            "disk": f"{one.disk / 2**20:,.0f} MiB",
        }
        for name, one in made.items()
    ]
    return rows_table(rows, name="run", step="step", time="time", memory="memory", disk="disk")

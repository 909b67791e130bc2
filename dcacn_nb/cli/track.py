"""`dcacn track`: a run shown in TensorBoard or Weights & Biases, while it trains or afterwards, on any machine."""

from dcacn_nb.cli import options as o
from dcacn_nb.cli.output import answer, call, checking, guarded, refuse_idle, say
from dcacn_nb.cli.reading import run_settings


@guarded
def track(
    run_dir: o.RunDir,
    to: o.TrackForm = o.TrackTo.tensorboard,
    output: o.TrackFolder = None,
    project: o.Project = "dcacn_nb",
    as_json: o.AsJson = False,
) -> None:
    "Write a run's losses, health and scores for TensorBoard, or offline for Weights & Biases; a live run is followed."
    if to is o.TrackTo.tensorboard:
        refuse_idle("wandb (--to wandb)", "project")
    run_settings(run_dir)
    from dcacn_nb.core.locks import is_held
    from dcacn_nb.runs.log import follow_events
    from dcacn_nb.runs.trackers import make_tracker

    if to is o.TrackTo.tensorboard:
        folder, options = output or run_dir / "tensorboard", {}
        show = f"tensorboard --logdir {folder}"
    else:
        folder, options = output or run_dir, {"project": project, "name": run_dir.name}
        show = f"wandb sync {folder}/wandb/offline-run-*"
    with checking(ModuleNotFoundError):
        tracker = make_tracker(to.value, folder, **options)
    call.on_interrupt = f"What was written is whole. Show it: {show}"
    count = 0
    with checking():
        for event in follow_events(run_dir, stop=lambda: is_held(run_dir / ".lock") is not True, arrays=False):
            tracker(event)
            count += 1
    tracker.close()
    say(f"{count:,} events written. Show them: {show}")
    answer({"output": folder, "events": count})

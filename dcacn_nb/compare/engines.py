"""Where the cells of a grid run: in joblib's workers, so on its Dask and Ray clusters as well, or as Slurm jobs.

A worker is sent a cell and the path of the images, and no images. Nothing is sent back: what a cell has come to is in
its run folder. If two workers get the same cell, the lock of its run folder decides."""

import contextlib
import dataclasses
import importlib.util
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import joblib
import torch

from dcacn_nb.compare.cells import Cell
from dcacn_nb.compare.shared_images import load_images_of_grid
from dcacn_nb.compare.work import Work
from dcacn_nb.core.locks import STALE
from dcacn_nb.core.text import logger
from dcacn_nb.runs.driver import Run

log = logger(__name__)
ENGINES = ("local", "joblib", "slurm")
TIMEOUTS = 50  # times that a job is queued again after its time limit: each time, it has come further
_LOOK = 1.0  # seconds between two looks at the jobs


def check_engine(
    on: str,  # one of ENGINES
    resources: dict,  # for the engine
) -> None:
    "Refuse, before any work, an engine that is not there."
    if on == "slurm":
        if importlib.util.find_spec("submitit") is None:
            raise ModuleNotFoundError(
                "on='slurm' needs submitit, which is not installed: pip install 'dcacn_nb[slurm]'"
            )
        if resources.get("cluster", "slurm") == "slurm" and shutil.which("sbatch") is None:
            text = "on='slurm' needs Slurm's command sbatch, which this machine does not have; call it on a login node"
            raise FileNotFoundError(f"{text}, or try it here with cluster='local' among the resources")
    wrong = [name for name in resources if on == "local" or (on == "joblib" and name != "n_jobs")]
    if wrong:
        known = "takes no resources" if on == "local" else "takes n_jobs alone; joblib.parallel_config sets the rest"
        raise ValueError(f"on={on!r} {known}, got {wrong[0]!r}")


def run_on_joblib(
    work: Work,
    cells: Sequence[Cell],
    images: Path,  # as keep_images returns it
    resources: dict,  # n_jobs
) -> None:
    "Run cells in the workers of the joblib backend that is set with `joblib.parallel_config`."
    tasks = (joblib.delayed(_work_on)(work, cell, images, number) for number, cell in enumerate(cells))
    joblib.Parallel(batch_size=1, **resources)(tasks)  # one cell at a time: they take minutes or days


def _work_on(work: Work, cell: Cell, images: Path, number: int, begin=Run.drive) -> None:
    "What a worker does with a cell."
    source = load_images_of_grid(images)
    work.do(_on_device(cell, number), source, source.labels, begin)


def _on_device(cell: Cell, number: int) -> Cell:
    "The cell on one of the GPUs of a machine that has several, in turn."
    count = torch.cuda.device_count()
    if count < 2 or cell.config.device not in ("auto", "cuda"):
        return cell
    return dataclasses.replace(cell, config=dataclasses.replace(cell.config, device=f"cuda:{number % count}"))


class CellJob:
    "A cell as a job of submitit: preempted, or out of time, it saves its run and is queued again."

    def __init__(self, work: Work, cell: Cell, images: Path):
        self.work, self.cell, self.images = work, cell, images
        self._run: Run | None = None

    def __call__(self) -> None:
        "Run the cell. Training has a thread of its own, so that the signal of the end finds the main one waiting."
        _work_on(self.work, self.cell, self.images, 0, self._begin)

    def _begin(self, run: Run) -> None:
        self._run = run.start()
        run.wait()

    def checkpoint(self):  # submitit's handler of the signal calls this, in the main thread
        "Stop after the step in progress, with a checkpoint; what is to be queued in this job's place."
        from submitit.helpers import DelayedSubmission

        if self._run is not None:
            self._run.stop("interrupted")
            with contextlib.suppress(Exception):  # an error of the run is found again, and recorded, after the restart
                self._run.wait()
        return DelayedSubmission(CellJob(self.work, self.cell, self.images))


def run_on_slurm(
    work: Work,
    cells: Sequence[Cell],
    images: Path,  # as keep_images returns it
    resources: dict,  # of each job, as submitit's AutoExecutor names them
    wait: bool,  # until all jobs have ended
) -> None:
    "Run cells as one array of Slurm jobs."
    jobs = _submit(dataclasses.replace(work, patience=1.2 * STALE), cells, images, resources)
    log.info("queued as %s", ", ".join(job.job_id for job in jobs[:3]) + (", ..." if len(jobs) > 3 else ""))
    while wait and not all(job.done() for job in jobs):
        time.sleep(_LOOK)
    for job, cell in zip(jobs if wait else [], cells):
        error = job.exception()
        if error is not None:
            text = "the job of %s (%s) ended without a result: %s; its log is %s"
            log.error(text, cell.folder.as_posix(), job.job_id, str(error).splitlines()[0], job.paths.stderr)


def _submit(work: Work, cells: Sequence[Cell], images: Path, resources: dict) -> list:
    "Queue the jobs."
    import submitit

    options = {"name": f"dcacn-{work.folder.name}"} | resources
    cluster = options.pop("cluster", "slurm")
    folder = work.folder.absolute()
    executor = submitit.AutoExecutor(folder / "jobs" / "%j", cluster=cluster, slurm_max_num_timeout=TIMEOUTS)
    try:
        executor.update_parameters(**options)
    except (NameError, AssertionError, ValueError) as error:  # submitit's, for unknown names and wrong types
        raise ValueError(f"resources are not as submitit takes them: {error}") from error
    work = dataclasses.replace(work, folder=folder)  # a job starts in a folder of its own
    with executor.batch():
        return [executor.submit(CellJob(work, cell, images.absolute())) for cell in cells]


def workers_of_this_machine() -> int:
    "How many cells to run at a time here, if nothing else is said: one per GPU, or one per two cores."
    return torch.cuda.device_count() or max(1, joblib.cpu_count() // 2)

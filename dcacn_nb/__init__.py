"""Deep image clustering in notebooks: decoupled contrastive learning with multi-crop views and attention (DCACN).

The public names below are imported on first use: `import dcacn_nb` alone loads neither PyTorch nor matplotlib."""

import importlib
import os
import sys

from dcacn_nb.core.lazy import lazy_names

__version__ = "0.1.0"

_PUBLIC = {
    "load_images": "data.loading",
    "FeatureSet": "data.feature_set",
    "load_features": "data.feature_set",
    "save_features": "data.feature_set",
    "load_encoder": "encoders",
    "embed": "encoders",
    "ImageSet": "data.image_set",
    "TrainConfig": "method.config",
    "preset": "method.config",
    "encode": "method.step",
    "train": "method.train",
    "evaluate_clustering": "method.metrics",
    "assignment_health": "method.metrics",
    "find_method": "methods",
    "method_names": "methods",
    "fit": "fitting",
    "predict": "fitting",
    "Run": "runs.driver",
    "ProgressBar": "runs.progress",
    "load_run": "runs.folder",
    "read_events": "runs.log",
    "watch": "runs.log",
    "diagnose": "report.diagnosis",
    "write_report": "report.page",
    "make_grid": "compare",
    "run_grid": "compare",
    "plan": "compare",
    "DCACN": "estimator",
    "Dashboard": "widgets",
    "LossLab": "widgets",
}
_FLOORS = (
    *("baselines", "cli", "clusters", "compare", "core", "data", "encoders"),
    *("estimator", "fitting", "heads", "method", "methods", "report", "runs", "widgets"),
)
_MOVED = {
    "autoencoder": "baselines._parts.autoencoder",
    "backbone": "method.backbone",
    "cbam": "method.cbam",
    "centres": "baselines._parts.centroids",
    "checkpoint": "runs.checkpoint",
    "cli_grids": "cli.grids",
    "cli_output": "cli.output",
    "cli_runs": "cli.running",
    "config": "method.config",
    "embedding": "report.maps",
    "events": "core.events",
    "figures": "report (plot_curves, plot_health, ...)",
    "folders": "data.folders",
    "grouping": "clusters.groups",
    "losses": "method.losses",
    "metrics": "method.metrics",
    "model": "method.model",
    "picture": "report.picture (Picture) or report.record (read_record)",
    "pool": "clusters.assigned",
    "run": "runs.driver",
    "run_folder": "runs.folder",
    "runlog": "runs.log",
    "selflabel": "baselines._parts.selflabel",
    "sources": "data.sources",
    "steps": "method.step",
    "tables": "compare.tables",
    "train": "method.train (the generator) or dcacn_nb itself (fit, load_run, ...)",
    "views": "method.views",
}
__all__ = ["__version__", *sorted(_PUBLIC)]


# Beside other work, OpenMP threads that spin while they wait cost several times the computation: let them sleep soon.
# PyTorch reads this when it is loaded; what the user has set stays. (`runs.threads` does the rest while a run trains.)
if "torch" not in sys.modules and not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "30000"

_load, _names = lazy_names(__name__, _PUBLIC)


def __getattr__(name: str):
    "A public name, or a floor of the package, imported on first use."
    return importlib.import_module(f"{__name__}.{name}") if name in _FLOORS else _load(name)


def __dir__():
    return sorted({*globals(), *_names(), *_FLOORS})


class _Moved:
    "Says where a module of the earlier, flat package is now."

    @staticmethod
    def find_spec(fullname, path=None, target=None):
        parent, _, name = fullname.rpartition(".")
        if parent == __name__ and name in _MOVED:
            # not a ModuleNotFoundError, which `from dcacn_nb import config` would swallow
            raise ImportError(f"{fullname} has moved: import from dcacn_nb.{_MOVED[name]}", name=fullname)


sys.meta_path.append(_Moved)

"""Live views of a run in JupyterLab: of this kernel, of another process, or of a folder. Needs the extra `lab`.

Each widget has its own module and is imported on first use: `from dcacn_nb.widgets import Dashboard`."""

import importlib

_MODULES = {
    "Curves": "curves",
    "CropViewer": "crops",
    "AttentionViewer": "attention",
    "MapViewer": "map",
    "ClusterHealth": "health",
    "ClusterBrowser": "clusters",
    "Dashboard": "dashboard",
    "LossLab": "loss_lab",
    "LiveWidget": "live",
}
__all__ = list(_MODULES)


def __getattr__(name: str):
    "Import a widget on first use, so that a helper process, for example, loads none of them."
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; widgets: {', '.join(_MODULES)}")
    try:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if error.name in ("anywidget", "ipywidgets", "traitlets", "IPython"):
            raise ImportError(
                f"{name} needs {error.name}; install the notebook side: pip install 'dcacn_nb[lab]'"
            ) from error
        raise

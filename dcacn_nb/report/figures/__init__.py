"""The pictures of a run, one module per picture: drawn from its events alone, with a text alternative."""

from dcacn_nb.core.lazy import lazy_names

_PUBLIC = {
    "plot_curves": "curves",
    "plot_health": "health",
    "HEALTH": "health",
    "similarity": "health",
    "plot_clusters": "clusters",
    "plot_map_evolution": "map",
    "scatter_clusters": "map",
    "plot_attention": "attention",
    "plot_views": "views",
    "plot_crops": "views",
}
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)

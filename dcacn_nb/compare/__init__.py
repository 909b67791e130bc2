"""Grids of runs, and the tables and pictures made from them."""

from dcacn_nb.core.lazy import lazy_names

_PUBLIC = {
    "FACTORS": "cells",
    "make_grid": "cells",
    "one_at_a_time": "cells",
    "full_factorial": "cells",
    "run_grid": "grid",
    "collect": "grid",
    "failures": "grid",
    "grid_progress": "progress",
    "plan": "planning",
    "plan_changes": "planning",
    "load_results": "tables",
    "summarise": "tables",
    "paired_differences": "tables",
    "choose_unlabelled": "tables",
    "paper_table": "paper",
    "beside_the_paper": "paper",
    "to_markdown": "paper",
    "to_latex": "paper",
    "plot_comparison": "figures",
    "plot_differences": "figures",
}
__all__ = list(_PUBLIC)
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)

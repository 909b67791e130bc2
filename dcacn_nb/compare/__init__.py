"""Grids of runs, and the tables made from them."""

from dcacn_nb.core.lazy import lazy_names

_PUBLIC = {
    "Cell": "grid",
    "setting_name": "grid",
    "make_cell": "grid",
    "seconds_an_epoch": "grid",
    "under_budget": "grid",
    "make_grid": "grid",
    "one_at_a_time": "grid",
    "full_factorial": "grid",
    "finished": "grid",
    "run_grid": "grid",
    "collect": "grid",
    "failures": "grid",
    "BUDGETS": "grid",
    "FACTORS": "grid",
    "NONE_OF_THE_THREE": "grid",
    "COLUMNS": "grid",
    "comparable": "tables",
    "bootstrap_interval": "tables",
    "summarise": "tables",
    "paired_differences": "tables",
    "paper_table": "tables",
    "beside_the_paper": "tables",
    "to_markdown": "tables",
    "to_latex": "tables",
    "plot_comparison": "tables",
    "plot_differences": "tables",
    "choose_unlabelled": "tables",
    "SCORES": "tables",
    "SAME": "tables",
    "FEWEST": "tables",
    "PAPER_SETS": "tables",
}
__all__ = list(_PUBLIC)
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)

"""Pretrained networks that turn images into features, and features computed once."""

from dcacn_nb.core.lazy import lazy_names

# A module must not have the name of a function listed here: importing it would put the module in the function's place.
_PUBLIC = {
    "DEFAULT": "weights",
    "Encoder": "encoder",
    "ENGINES": "engines",
    "choose_encoder": "suitable",
    "load_encoder": "encoder",
    "embed": "embedding",
}
__all__ = list(_PUBLIC)
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)

"""Images: sets, folders and public sources."""

from dcacn_nb.core.lazy import lazy_names

_PUBLIC = {
    "ImageSet": "image_set",
    "contact_sheet": "image_set",
    "from_arrays": "arrays",
    "load_images": "loading",
    "load_like": "loading",
    "batches": "batching",
    "fetch": "batching",
    "to_storage": "batching",
    "Listing": "listing",
    "list_images": "listing",
    "UnreadableImage": "image_file",
    "decode_folder": "folders",
    "SOURCES": "catalogue",
    "SYNSETS": "catalogue",
    "known_sources": "catalogue",
    "verify": "sources",
}
__all__ = list(_PUBLIC)
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)

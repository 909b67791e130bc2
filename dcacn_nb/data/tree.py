"""What lies below a folder: its files in a fixed order, each once, and what was left out, counted by reason."""

import os
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from dcacn_nb.data.image_file import image_suffixes, in_words, is_image_inside, suffix_of

SYSTEM_FOLDERS = (  # made by file systems, network drives, photo programs and archives: copies, thumbnails, waste
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", ".@__thumb"),
    *("$recycle.bin", "recycler", "recycled", "system volume information", "lost+found", "found.[0-9][0-9][0-9]"),
    *("__macosx", ".appledouble", ".trash*", ".trashes", ".thumbnails", ".git", ".svn", ".hg", ".cache"),
    *(".ipynb_checkpoints", "*.lrdata", "*.lrcat-data", "network trash folder", "temporary items"),
)
NO_SUFFIX, HIDDEN, BROKEN = "(no suffix)", "(hidden)", "(broken link)"
SPECIAL, TWICE = "(not a regular file)", "(link to an image taken already)"
FOLDER_TWICE, UPWARD = "(link to a folder taken already)", "(link to a folder above)"


@dataclass
class Found:
    "What a walk has found. Paths are relative to its root, with forward slashes."

    files: "list[str]" = field(default_factory=list)  # images
    folders: "list[str]" = field(default_factory=list)  # entered
    ignored: "Counter[str]" = field(default_factory=Counter)  # suffix, or reason in brackets -> files left out
    system: "Counter[str]" = field(default_factory=Counter)  # name -> system and hidden folders left out
    unreadable: "dict[str, str]" = field(default_factory=dict)  # folder -> why it cannot be entered


def walk(
    root: Path,
) -> Found:
    "All images below a folder. Links are followed, but nothing is entered or counted twice."
    return _Walk(root).run()


class _Walk:
    "One walk."

    def __init__(self, root: Path):
        self.root, self.real = root, os.path.realpath(root)
        self.found, self.known = Found(), image_suffixes()
        self.seen: set[str] = set()  # real paths of the folders entered
        self.later: list[str] = []  # links to folders, not entered yet
        self.links: set[str] = set()  # images that are links, or were reached through one

    def run(self) -> Found:
        "Walk, links to folders last: what they show a second time is left out."
        self._below("", linked=False)
        for path in iter(lambda: self.later.pop(0) if self.later else None, None):
            real = os.path.realpath(self.root / path)
            if _is_above(real, self.real):
                self.found.ignored[UPWARD] += 1
            elif real in self.seen:
                self.found.ignored[FOLDER_TWICE] += 1
            else:
                self._below(path, linked=True)
        if self.links:
            self._drop_twins()
            self.found.files.sort(key=in_order)
        return self.found

    def _below(self, top: str, linked: bool) -> None:
        "Walk below a folder; files of a folder come before its sub-folders."
        waiting = [top]
        while waiting:
            name = waiting.pop()
            real = os.path.realpath(self.root / name) if linked else self._real(name)
            if real not in self.seen:
                self.seen.add(real)
                waiting += reversed(self._enter(name, linked))

    def _enter(self, name: str, linked: bool) -> "list[str]":
        "Take a folder's images; its sub-folders that are to be entered."
        try:
            with os.scandir(self.root / name) as entries:  # names and kinds alone: a folder may hold a million files
                visible = sorted((entry.name, _kind(entry), entry.is_symlink()) for entry in entries)
        except OSError as error:
            if not name:
                raise
            self.found.unreadable[name] = in_words(error)
            return []
        self.found.folders += [name] if name else []
        inside: list[str] = []
        for own, kind, is_link in visible:
            path = f"{name}/{own}" if name else own
            if kind != "dir":
                self._file(own, kind, path, linked or is_link)
            elif is_left_out(own):
                self.found.system[own] += 1
            else:
                (self.later if is_link else inside).append(path)
        return inside

    def _file(self, own: str, kind: str, path: str, linked: bool) -> None:
        "Take an image, or count what is left out."
        suffix = suffix_of(own)
        if own.startswith("."):
            self.found.ignored.update([HIDDEN] if suffix in self.known else [])
        elif kind != "file":
            self.found.ignored[SPECIAL if os.path.exists(self.root / path) else BROKEN] += 1
        elif suffix in self.known or (not suffix and is_image_inside(self.root / path)):
            self.found.files.append(path)
            if linked:
                self.links.add(path)
        else:
            self.found.ignored[suffix or NO_SUFFIX] += 1

    def _real(self, path: str) -> str:
        "The real path of what was reached through no link; on Windows with its own slashes, as `realpath` gives it."
        return os.path.normpath(os.path.join(self.real, path))

    def _drop_twins(self) -> None:
        "Of images that links show a second time, keep the first, and a file rather than a link to it."
        taken = {self._real(path) for path in self.found.files if path not in self.links}
        kept = []
        for path in self.found.files:
            if path in self.links:
                real = os.path.realpath(self.root / path)
                if real in taken:
                    self.found.ignored[TWICE] += 1
                    continue
                taken.add(real)
            kept.append(path)
        self.found.files = kept


def _kind(entry: os.DirEntry) -> str:
    "What an entry is, or what it links to: 'dir', 'file' or 'other'; a ring of links is the last."
    try:
        return "dir" if entry.is_dir() else "file" if entry.is_file() else "other"
    except OSError:
        return "other"


def is_left_out(
    name: str,  # of a folder, without those above it
) -> bool:
    "Whether a folder is hidden, or its name is one that systems and programs give."
    return name.startswith(".") or any(fnmatchcase(name.lower(), pattern) for pattern in SYSTEM_FOLDERS)


def _is_above(folder: str, other: str) -> bool:
    "Whether a real path is another one, or holds it."
    return folder == other or other.startswith(folder.rstrip(os.sep) + os.sep)


def in_order(
    path: str,  # relative, with forward slashes
) -> "list[tuple[bool, str]]":
    "A key that sorts as a walk does: the files of a folder before its sub-folders."
    *folders, name = path.split("/")
    return [*((True, folder) for folder in folders), (False, name)]

"""The edits of the cluster browser and their file: read when it was changed elsewhere, written after every edit."""

from pathlib import Path

from dcacn_nb.clusters.groups import Grouping, GroupingError, GroupingFile
from dcacn_nb.core.text import logger

log = logger(__name__)


class SavedGrouping:
    "A grouping and its clusters.json. What cannot be read or written stays in memory, and `problem` says why."

    def __init__(
        self,
        folder: "str | Path | None",  # of the run; None: the grouping is kept in memory only
    ):
        self.file = None if folder is None else GroupingFile(folder)
        self.grouping: Grouping | None = None  # once the number of clusters is known
        self.problem = ""  # why the last edits are not in the file
        self.damaged = False  # the file was not understood, so it is not overwritten

    def read(
        self,
        n_clusters: int,  # of the network
    ) -> bool:  # whether the file could be read
        "Take the grouping from the file, if there is one."
        if self.grouping is None or self.grouping.n_clusters != n_clusters:
            self.grouping = Grouping(n_clusters)
        try:
            self.grouping = self.file.read(n_clusters) if self.file else self.grouping
            self.problem, self.damaged = "", False
        except (GroupingError, OSError) as error:
            self.problem, self.damaged = str(error), isinstance(error, GroupingError)
            log.warning("%s", error)
        return not self.problem

    def changed_elsewhere(self) -> bool:
        "Whether another program has changed the file since it was read."
        try:
            return self.file is not None and not self.damaged and self.file.changed()
        except OSError as error:  # writing will fail as well and report it
            self.problem = str(error)
            return False

    def write(self) -> None:
        "Write the file, if there is one and it was understood."
        if self.file is None or self.damaged:
            return
        try:
            self.file.write(self.grouping)
            self.problem = ""
        except (GroupingError, OSError) as error:
            self.problem = str(error)
            log.warning("%s", error)

    def set_aside(self) -> Path:  # the new name of the file
        "Rename a file that was not understood, so that a new one can be written."
        aside = self.file.set_aside()
        self.damaged = False
        return aside

    @property
    def names(self) -> "dict[int, str]":
        "Group -> name, of the groups that have one."
        return {group: name for group in self.grouping.groups() if (name := self.grouping.name(group))}

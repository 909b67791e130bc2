"""The row that a drill leaves in the table, and the violation that ends it."""

import logging
import time
from dataclasses import asdict, dataclass, field

log = logging.getLogger("drills")
COUNTS = ("lost", "outside", "raw", "hangs")  # what must be zero


class Violation(AssertionError):
    "Something that must never happen; the text says what, and how to see it again."


@dataclass
class Row:
    "What a drill tried, and how it went."

    drill: str
    seed: int = 0
    keep_going: bool = False  # count violations instead of raising the first one
    tried: int = 0
    survived: int = 0
    lost: int = 0  # data lost, changed or left behind
    outside: int = 0  # writes outside the folders of the product, and foreign code
    raw: int = 0  # exceptions that are not documented, and crashes
    hangs: int = 0  # over the time limit
    seconds: float = 0.0
    note: str = ""
    found: "list[str]" = field(default_factory=list)  # the violations, in words
    _began: float = field(default_factory=time.monotonic, repr=False)

    def attempt(self) -> None:
        "One more attack; it counts as survived until a violation is found."
        self.tried += 1
        self.survived += 1
        self._failed = False

    def violation(self, kind: str, text: str) -> None:
        "One thing that must not happen, of a kind in COUNTS."
        setattr(self, kind, getattr(self, kind) + 1)
        if not self._failed:
            self.survived -= 1
            self._failed = True
        text = f"[{self.drill}, --seed {self.seed}, attempt {self.tried}] {kind}: {text}"
        self.found.append(text)
        log.error("%s", text)
        if not self.keep_going:
            raise Violation(text)

    def done(self, note: str = "") -> "Row":
        "Note the time."
        self.seconds, self.note = round(time.monotonic() - self._began, 1), note or self.note
        return self

    def values(self) -> dict:
        "The columns of the table."
        names = ("drill", "seed", "tried", "survived", *COUNTS, "seconds", "note")
        return {name: asdict(self)[name] for name in names}

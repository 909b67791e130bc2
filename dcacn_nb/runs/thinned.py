"""Lists of bounded length, for what a long run reports without end."""

from collections.abc import Iterator


class ThinnedList:
    "A list of bounded length: evenly spaced items of all that were appended, and always the newest."

    def __init__(
        self,
        limit: int = 1000,  # items kept besides the newest, >= 2
    ):
        if limit < 2:
            raise ValueError(f"limit must be >= 2, got {limit}")
        self.limit, self.stride, self.seen = limit, 1, 0
        self._items: list = []
        self._extra: list = []

    def append(self, item: object) -> bool:
        "Add an item. True if older items were dropped, so that a copy of the list is out of date."
        thinned = False
        if self.seen % self.stride == 0:
            if len(self._items) == self.limit:
                self._items, self.stride, thinned = self._items[::2], 2 * self.stride, True
            if self.seen % self.stride == 0:
                self._items.append(item)
                self._extra = []
            else:
                self._extra = [item]
        else:
            self._extra = [item]
        self.seen += 1
        return thinned

    @property
    def last(self) -> object:
        "The newest item; None if there is none."
        return (self._extra or self._items or [None])[-1]

    def __len__(self) -> int:
        return len(self._items) + len(self._extra)

    def __iter__(self) -> Iterator:
        return iter([*self._items, *self._extra])

    def __getitem__(self, i):
        return [*self._items, *self._extra][i]

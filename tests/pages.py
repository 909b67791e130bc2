"Pages of runs for tests: written from events, parsed, and checked for what must hold for any page."

import re
from html.parser import HTMLParser

from dcacn_nb.runs.log import RunLog


def written(folder, events):
    "A run folder with these events in it."
    log = RunLog(folder)
    for event in events:
        log(event)
    return folder


class Reader(HTMLParser):
    "Collects tags, attributes and text; complains about tags that do not close."

    VOID = {"meta", "img", "source", "br"}

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        self.open += [tag] if tag not in self.VOID else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text.append(data)


def checked(path) -> str:
    "The text of a page, after everything that must hold for any page."
    text = path.read_text(encoding="utf-8")
    reader = Reader(text)
    assert "script" not in reader.tags and not [a for a in reader.attributes if a[1].startswith("on")]
    sources = [value for _, name, value in reader.attributes if name in ("src", "srcset", "href")]
    assert all(re.match("data:image/(png|jpeg);base64,", value) for value in sources)
    assert "http" not in re.sub(r"base64,[^'\"]+", "", text)
    words = [value for tag, name, value in reader.attributes if tag == "img" and name == "alt"]
    assert len(words) == reader.tags.count("img") and all(len(w) > 20 for w in words)
    assert "could not be drawn" not in text and len(text) < 1.5e6
    return " ".join(reader.text)


def of_kind(events, *kinds) -> list:
    "Some of the events."
    return [e for e in events if isinstance(e, kinds)]


def headings(path) -> "list[str]":
    "The headings of a page, in order."
    return re.findall("<h2>(.*?)</h2>", path.read_text(encoding="utf-8"))

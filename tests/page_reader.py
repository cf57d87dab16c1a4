"""What tests of the report read: tags, attributes and text of a page."""

from html.parser import HTMLParser

VOID = {"meta", "img", "source", "link", "br"}


class Reader(HTMLParser):
    """Collects what the tests ask about, and checks that tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += f"{data} "

    def values(self, name: str, tag: str | None = None) -> list[str]:
        return [attrs[name] or "" for found, attrs in self.tags if name in attrs and tag in (None, found)]

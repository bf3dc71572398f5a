"""The failure words that every service shares, so that one ladder can act on them."""


class Retry(Exception):
    """Transient: the same work may succeed a moment later. A write may or may not have happened."""


class Reject(Exception):
    """The work can never succeed: dead-letter it now. `code` is stable, `detail` is for a person."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class Duplicate(Exception):
    """A unique index refused the write; `key` holds the fields of that index."""

    def __init__(self, detail: str, key: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.key = key


class Fatal(Exception):
    """The process cannot go on; the text is a sentence for whoever reads the last line of its log."""

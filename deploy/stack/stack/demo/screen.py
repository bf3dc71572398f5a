"""What one sees of the demo: a table that moves in a terminal, a line for each happening elsewhere."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chassis.clock import Clock
from chassis.zones import find_zone
from stack.demo.cast import Person

LAST_HAPPENINGS = 5
FALLBACK_ZONE = "Europe/Berlin"
STYLES = {"finished": "green", "stopped": "yellow", "failed": "bold red", "in_doubt": "bold red"}


class Screen:
    """Shows where everybody is; `tell` takes a few words about what just happened."""

    def __init__(self, console: Console, clock: Clock, title: str, people: Sequence[Person]) -> None:
        self._console = console
        self._clock = clock
        self._title = title
        self._people = people
        self._happenings: deque[str] = deque(maxlen=LAST_HAPPENINGS)
        self._first = clock.now()
        self._live: Live | None = None

    @contextmanager
    def showing(self) -> Iterator[None]:
        """The table is there for the time of the block, and its last state stays."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, refresh_per_second=8) as self._live:
            yield

    def tell(self, happening: str) -> None:
        line = f"{self._clock.now():%a %d %b %H:%M} UTC  {happening}"
        self._happenings.append(line)
        if self._live is None:
            self._console.print(line, markup=False, highlight=False)

    def show(
        self,
        rows: Mapping[str, Mapping[str, Any]],
        received: Mapping[str, Sequence[datetime]],
        did: Mapping[str, str],
    ) -> None:
        """Draw the enrollments (by external id), the messages received and what people did (by address)."""
        if self._live is not None:
            self._live.update(self.picture(rows, received, did))

    def picture(
        self,
        rows: Mapping[str, Mapping[str, Any]],
        received: Mapping[str, Sequence[datetime]],
        did: Mapping[str, str],
    ) -> RenderableType:
        """The table and the last happenings."""
        now = self._clock.now()
        day = (now - self._first).days + 1
        heading = f"{self._title}   day {day}, {now:%A %d %B %H:%M} UTC"
        table = Table(title=heading, title_justify="left", box=None, pad_edge=False)
        for column in ("prospect", "place", "hello", "nudge", "what they did", "where they are"):
            table.add_column(column, no_wrap=True)
        for person in self._people:
            times = [f"{at.astimezone(_zone(person)):%a %H:%M}" for at in received[person.email]]
            hello, nudge, *_ = [*times, "", ""]
            where = _where(rows.get(person.external_id), _zone(person))
            table.add_row(person.name, person.place, hello, nudge, did.get(person.email, ""), where)
        return Group(table, Text("\n".join(["", *self._happenings]), style="dim"))


def _where(row: Mapping[str, Any] | None, zone: tzinfo) -> Text:
    if row is None:
        return Text("…", style="dim")
    state, coming, stop = row["state"], row["next"], row["stop"]
    if stop is not None:
        return Text(f"stopped: {stop['reason']}", style=STYLES["stopped"])
    if row["held"]:
        return Text("waits for the return", style="cyan")
    if state == "scheduled" and coming and coming["planned_at"]:
        due = datetime.fromisoformat(coming["planned_at"]).astimezone(zone)
        return Text(f"{coming['stage_id']} on {due:%a %d %b %H:%M}")
    return Text(state.replace("_", " "), style=STYLES.get(state, ""))


def _zone(person: Person) -> tzinfo:
    """The person's own time; who gave a country only is shown in that of the sequence."""
    return find_zone(person.zone) or find_zone(FALLBACK_ZONE) or UTC

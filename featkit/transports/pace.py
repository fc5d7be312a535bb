"""How many calls of one kind run at once: as many as make the store faster, and no more.

A store with many workers answers eight calls in the time of one, a store with one worker in eight
times that, or longer. Neither tells. So the first call runs alone, and their number doubles as long
as that brings more entities a second; where it does not, the number before is kept for a while. A
decision without I/O, of which the clock is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean

GAIN = 1.1
"""Twice as many calls must be faster by this factor to be worth their number."""

AGE = 60.0
"""Seconds after which what was found is looked at again."""

_CHANCES = 3
"""How many times as many calls as run at once must be slow where some may have been held up.

What holds up all that run, as a connection that is opened and a library that is imported do, is
seen in two such groups. It makes them far slower than a store that is asked too much becomes.
"""

_HELD_UP = 0.5  # of the speed of others, below which calls were held up rather than too many

_NEARLY = 0.3  # how far from a whole number the mean number of calls at once may be


@dataclass(slots=True, eq=False)
class Pace:
    """How many calls of one kind run at once, and how fast they were.

    Attributes
    ----------
    most, least
        The bounds.
    level
        How many may run at once now.
    running
        How many do.
    """

    most: int
    least: int = 1
    level: int = field(init=False)
    running: int = 0
    _before: int = 0  # the level that it grew from; 0: none
    _speeds: dict[int, list[float]] = field(default_factory=dict)  # by level: entities a second
    _settled: bool = False
    _since: float = 0.0  # when it began to find out
    _size: int = 0  # entities of the largest call
    _area: float = 0.0  # calls that ran, times the seconds that they did
    _at: float = 0.0  # until when the area is counted

    def __post_init__(self) -> None:
        self.level = self.least

    def begin(self, now: float) -> float:
        """Count a call that begins; return what `end` wants."""
        self._count(now)
        self.running += 1
        return self._area

    def end(self, now: float, area: float) -> float:
        """Count a call that ended; return the calls times seconds since it began."""
        self._count(now)
        self.running -= 1
        return self._area - area

    def _count(self, now: float) -> None:
        self._area += self.running * (now - self._at)
        self._at = now

    def learn(self, entities: int, seconds: float, at_once: float, now: float) -> None:
        """Learn from a call that was answered.

        Parameters
        ----------
        entities
            How many it asked for; calls of less than half as many as others say nothing.
        seconds
            How long it took.
        at_once
            How many calls ran meanwhile, this one among them, on an average.
        now
            When that was.
        """
        if entities > 2 * self._size or now - self._since > AGE:
            self._begin_anew(entities, now)
        level = round(at_once)
        alike = 2 * entities >= self._size and seconds > 0
        if self._settled or not alike or abs(at_once - level) > _NEARLY:
            return
        speeds = self._speeds.setdefault(level, [])
        speeds.append(level * entities / seconds)
        del speeds[: -_CHANCES * self.most]
        if level == self.level and len(speeds) % level == 0:
            self._decide()

    def _decide(self) -> None:
        if self._before and self._speed(self.level) < GAIN * self._speed(self._before):
            if not self._held_up() or len(self._speeds[self.level]) >= _CHANCES * self.level:
                self.level, self._settled = self._before, True
        elif self.level >= self.most:
            self._settled = True
        else:
            self._before, self.level = self.level, min(2 * self.level, self.most)
            self._speeds.pop(self.level, None)

    def _held_up(self) -> bool:
        """Tell whether something else than the store may have made the last calls slow."""
        last = self._speeds[self.level][-self.level :]
        others = max(*last, self._speed(self._before))
        return min(last) < _HELD_UP * others

    def _speed(self, level: int) -> float:
        return fmean(self._speeds[level][-level:])

    def _begin_anew(self, entities: int, now: float) -> None:
        """Forget how fast it was, and go one step back, to see whether less would do as well."""
        self.level = max(self.least, self.level // 2)
        self._before, self._settled, self._speeds = 0, False, {}
        self._size, self._since = max(self._size, entities), now

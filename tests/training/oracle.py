"""The rules of a training set as plainly as they can be written: one loop over all pairs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A row of history; times are whole microseconds, None is null."""

    key: object
    event: int | None
    created: int | None
    value: object


@dataclass(frozen=True)
class Rules:
    limit: int | None = None
    created: bool = False
    delay: int = 0
    strict: bool = False
    static: bool = False

    def known(self, row, at):
        if self.static:
            return True
        moment = at - self.strict - self.delay
        if row.event > moment:
            return False
        return not self.created or row.created is None or row.created <= at


def join(rows, spine, rules):
    """Return for each (key, at) of the spine an outcome, the chosen row and whether it tied."""
    return [_one(rows, key, at, rules) for key, at in spine]


def _one(rows, key, at, rules):
    if at is None or key is None or (isinstance(key, tuple) and None in key):
        return "null", None, False
    own = [row for row in rows if row.key == key and (rules.static or row.event is not None)]
    if not own:
        return "unknown", None, False
    known = [row for row in own if rules.known(row, at)]
    if not known:
        return "future", None, False
    best = known[0]
    for row in known[1:]:
        if _rank(row, rules) >= _rank(best, rules):
            best = row
    tied = (rules.static and len(known) > 1) or sum(row.event == best.event for row in known) > 1
    if not rules.static and rules.limit is not None and at - best.event > rules.limit:
        return "expired", None, False
    return "hit", best, tied


def _rank(row, rules):
    if rules.static:
        return 0, 0
    return row.event, -(2**63) if row.created is None else row.created

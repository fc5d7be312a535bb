"""The browser for feature views: look around, tick features, use them in the next cell."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as W  # noqa: N812 - its own short name
import traitlets

from featkit.catalogue import Catalogue, enrich_code
from featkit.clients.catalogued import catalogued
from featkit.clients.progress import in_kernel
from featkit.clients.sampling import sample
from featkit.errors import FeatkitError, UnknownNameError, nearest
from featkit.html import badge, element, joined
from featkit.widgets import samples
from featkit.widgets.assets import pack
from featkit.widgets.content import columns_of, view_in_full
from featkit.widgets.details import FeatureDetails
from featkit.widgets.page import browser_page
from featkit.widgets.table import FeatureTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import polars as pl

    from featkit.clients.session import Session
    from featkit.schema import FeatureView
    from featkit.types import Keys

_STATE = ("search", "facets", "sort", "opened", "current", "selected")


class Code(str):
    """Code that a notebook shows as it is written."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class FeatureViewBrowser(W.VBox):
    """A store's feature views, to look at and to choose from; made by `browse` of a client.

    In a notebook it is a widget: search, filter, sort, tick features, and look at one view in full
    with a sample of its values. Where nothing can show a widget, the catalogue is printed.

    Attributes
    ----------
    catalogue : Catalogue
        What it shows.
    selected : list of str
        References of the ticked features, in the order of ticking: `enrich` and
        `get_historical_features` take them as they are. It can be set and observed.

    Examples
    --------
    >>> import featkit
    >>> store = featkit.connect("demo:flights")
    >>> browser = store.browse(["aircraft"])
    demo:flights: 1 feature view, 7 features
    view      join keys  ttl     owner  features
    aircraft  tailnum    static  fleet  manufactured_year, manufacturer, model, type, engine, ...
    >>> browser.selected = ["aircraft:seats"]
    >>> browser.code()
    frame.features.enrich([
        "aircraft:seats",
    ])
    """

    selected = traitlets.List(traitlets.Unicode())

    def __init__(
        self,
        catalogue: Catalogue,
        session: Session,
        *,
        entities: Keys | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.catalogue = catalogue
        self._session = session
        self._entities = entities
        self._samples: dict[str, dict[str, Any]] = {}
        self.table, self.details = FeatureTable(), FeatureDetails()
        self.note = W.HTML()
        self.names = W.Text(
            placeholder="names of feature views, with commas between", continuous_update=False
        )
        self._show = W.Button(description="Show")
        refresh = W.Button(description="Refresh", tooltip="Read the store's catalogue again")
        super().__init__(children=[])
        self._lay_out(refresh)
        self.table.observe(lambda _: self._draw(), "current")
        self.table.on_msg(lambda _, message, __: self.answer(message))
        self.details.on_msg(lambda _, message, __: self.answer(message))
        refresh.on_click(lambda _: self._in_background(self.refresh))
        self._show.on_click(lambda _: self._in_background(self._add))
        self.names.observe(lambda _: self._in_background(self._add), "value")
        self._take(catalogue)
        traitlets.link((self.table, "selected"), (self, "selected"))
        if state is not None:
            self.state = state
        if not in_kernel():
            print(catalogue)  # noqa: T201 - what a person without a display asked for

    def code(self) -> Code:
        """Return the call that brings the selected features into a frame."""
        return Code(enrich_code(self.selected))

    @property
    def state(self) -> dict[str, Any]:
        """What the user has typed, chosen and ticked, as what JSON can hold; it can be set."""
        return {name: copy.copy(getattr(self.table, name)) for name in _STATE}

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        if unknown := sorted(set(state) - set(_STATE)):
            msg = f"a browser's state has no {unknown[0]!r}; {nearest(unknown[0], _STATE)}"
            raise UnknownNameError(msg)
        for name, value in state.items():
            setattr(self if name == "selected" else self.table, name, value)

    def refresh(self) -> None:
        """Read the catalogue again; when the store is down, keep what is there and say so."""
        listed = not self.catalogue.notes
        self._read(() if listed else [view.name for view in self.catalogue.views])

    def sample(self, view: str, *, count: int = 200) -> pl.DataFrame:
        """Read the latest values of some entities of a view, and show what they look like.

        Parameters
        ----------
        view
            Name of the view.
        count
            How many entities at most.

        Returns
        -------
        polars.DataFrame
            One row per entity: the join keys, then the features.

        Raises
        ------
        UnknownNameError
            There is no such view.
        NotSupportedError
            The store cannot name entities, and `browse` was told none.
        StoreError
            The store failed.

        Examples
        --------
        >>> import featkit
        >>> browser = featkit.connect("demo:flights").browse(["carrier_history"])
        demo:flights: 1 feature view, 4 features
        ...
        >>> browser.sample("carrier_history").columns[:2]
        ['carrier', 'mean_dep_delay_7d']
        """
        described = self._view(view)
        taken = self._session.run(
            sample(self._session.operations, described, count, self._entities)
        )
        self._keep(
            view,
            sample=samples.summary(described, taken.keys, taken.columns),
            freshness=samples.freshness(described, taken.columns, taken.now),
        )
        return taken.to_polars()

    def to_html(self, path: str | Path | None = None) -> str:
        """Write the browser as a page of one file, which needs neither Python nor a network.

        Parameters
        ----------
        path
            Where; None: nowhere.

        Returns
        -------
        str
            The page, with what was typed, chosen, ticked and sampled.
        """
        text = browser_page(self.catalogue, self.state, self._samples)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def to_csv(self, path: str | Path) -> None:
        """Write the catalogue as a table, one row per feature; see `Catalogue.to_csv`."""
        self.catalogue.to_csv(path)

    def __repr__(self) -> str:
        return f"<FeatureViewBrowser of {self.catalogue.headline}>"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any] | None:  # noqa: ANN401 - IPython's
        bundle: dict[str, Any] | None = super()._repr_mimebundle_(**options)
        if bundle is not None:  # for readers without a kernel
            bundle["text/plain"] = repr(self)
            bundle["text/html"] = self.catalogue._repr_html_()
        return bundle

    @traitlets.validate("selected")
    def _check_selected(self, proposal: dict[str, Any]) -> list[str]:
        wanted = list(dict.fromkeys(proposal["value"]))
        known = set(map(str, self.catalogue.references()))
        for reference in wanted:
            if reference not in known:
                msg = f"there is no feature {reference!r} here; {nearest(reference, known)}"
                raise UnknownNameError(msg)
        return wanted

    # -- what happens inside -------------------------------------------------------------------

    def _lay_out(self, refresh: W.Button) -> None:
        self.table.layout = W.Layout(flex="3 1 480px", min_width="0")
        self.details.layout = W.Layout(flex="2 1 340px", min_width="0")
        panes = W.Box(
            [self.table, self.details],
            layout=W.Layout(display="flex", flex_flow="row wrap", grid_gap="12px"),
        )
        self.asking = W.HBox([self.names, self._show])
        self.children = [self.note, self.asking, panes, W.HBox([refresh])]
        for widget, name in (
            (self, "featkit-browser"),
            (refresh, "featkit-refresh"),
            (self.names, "featkit-names"),
            (self.note, "featkit-note"),
        ):
            widget.add_class(name)

    def _take(self, catalogue: Catalogue) -> None:
        """Show a catalogue."""
        self.catalogue = catalogue
        known = set(map(str, catalogue.references()))
        self.table.selected = [each for each in self.table.selected if each in known]
        self.table.payload = pack(columns_of(catalogue))
        lines = [badge(note, "warn") for note in catalogue.notes]
        if problem := catalogue.since(datetime.now(UTC)):
            lines.append(badge(problem, "bad"))
        self.note.value = joined(element("div", line) for line in lines)
        self.asking.layout.display = None if catalogue.notes else "none"
        self._draw()

    def _view(self, name: str) -> FeatureView:
        views = {view.name: view for view in self.catalogue.views}
        if name not in views:
            msg = f"there is no feature view {name!r} here; {nearest(name, views)}"
            raise UnknownNameError(msg)
        return views[name]

    def _draw(self) -> None:
        """Show the view that was chosen."""
        name = self.table.current
        found = [view for view in self.catalogue.views if view.name == name]
        shown = view_in_full(self.catalogue, found[0]) if found else {}
        self.details.view = shown | self._samples.get(name, {}) if found else {}

    def _keep(self, view: str, **changes: Any) -> None:  # noqa: ANN401 - what JSON can hold
        self._samples[view] = {**self._samples.get(view, {}), **changes}
        if self.table.current == view:
            self._draw()

    def answer(self, message: Mapping[str, Any]) -> None:
        """Do what JavaScript asks for."""
        match message:
            case {"kind": "sample", "view": str(view)}:
                self._keep(view, sample={"state": "asking"})
                self._in_background(lambda: self._sampled(view))
            case {"kind": "html"}:
                self.table.send({"kind": "html"}, [self.to_html().encode()])

    def _sampled(self, view: str) -> None:
        try:
            self.sample(view)
        except FeatkitError as error:
            self._keep(view, sample={"state": "failed", "reason": str(error)})

    def _add(self) -> None:
        """Show the views whose names were typed, besides those that are there."""
        typed = [name.strip() for name in self.names.value.split(",") if name.strip()]
        self._read([*(view.name for view in self.catalogue.views), *typed])

    def _read(self, names: Sequence[str]) -> None:
        notes = self.catalogue.notes
        try:
            found = self._session.run(catalogued(self._session, names))
        except FeatkitError as error:
            self._take(replace(self.catalogue, problem=str(error)))
        else:
            self._take(replace(found, notes=notes) if names else found)

    def _in_background(self, work: Callable[[], None]) -> None:
        """Ask the store in a thread, so that the kernel stays free while it thinks."""
        threading.Thread(target=work, name="featkit-browser", daemon=True).start()

"""The table of the browser: search, facets, sort and ticks, all in JavaScript."""

from __future__ import annotations

import anywidget
import traitlets

from featkit.widgets.assets import script, style


class FeatureTable(anywidget.AnyWidget):
    """A table of feature views and their features.

    Attributes
    ----------
    payload
        The catalogue, as `featkit.widgets.content.columns_of` has it, packed.
    search
        What stands in the search box.
    facets
        Chosen values, by the name of the facet: ``owner tag entity dtype served service``.
    sort
        ``name owner ttl features``, with a ``-`` before it from the end; empty: as found.
    opened
        Names of the views that were opened by hand.
    current
        Name of the view that was chosen.
    selected
        References of the ticked features, in the order of ticking.
    live
        Whether Python is there to answer.
    """

    _esm = script("table")
    _css = style("table")
    payload = traitlets.Bytes().tag(sync=True)
    search = traitlets.Unicode().tag(sync=True)
    facets = traitlets.Dict().tag(sync=True)
    sort = traitlets.Unicode().tag(sync=True)
    opened = traitlets.List(traitlets.Unicode()).tag(sync=True)
    current = traitlets.Unicode().tag(sync=True)
    selected = traitlets.List(traitlets.Unicode()).tag(sync=True)
    live = traitlets.Bool(default_value=True).tag(sync=True)

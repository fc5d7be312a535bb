"""The pane of the browser that shows one feature view in full."""

from __future__ import annotations

import anywidget
import traitlets

from featkit.widgets.assets import script, style


class FeatureDetails(anywidget.AnyWidget):
    """One feature view: schema, lineage, age, values, code.

    Attributes
    ----------
    view
        The view, as `featkit.widgets.content.view_in_full` has it; empty: none was chosen.
    live
        Whether Python is there to answer.
    """

    _esm = script("details")
    _css = style("details")
    view = traitlets.Dict().tag(sync=True)
    live = traitlets.Bool(default_value=True).tag(sync=True)

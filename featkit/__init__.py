"""One line from a dataframe to its features.

::

    import featkit as fk

    store = fk.connect("demo:flights")
    flights.features.enrich(["aircraft:seats", "origin_weather:wind_speed"])

What is public, and where it is at home, stands in ``__init__.pyi``. A name is imported when it is
first used, so that ``import featkit`` loads neither pandas nor polars.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)

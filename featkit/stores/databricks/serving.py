"""Serving endpoints: where they are asked, what they serve, and whether they can."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from featkit.errors import StoreUnavailable, UnknownNameError, nearest
from featkit.flows import meant, together
from featkit.stores.databricks.catalog import Endpoint, Endpoints, FeatureSpec, service_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from featkit.calls import Call, Flow
    from featkit.schema import FeatureService
    from featkit.stores.databricks.workspace import Workspace

_SERVING = "/api/2.0/serving-endpoints"
_SPECS = "/api/2.0/feature-engineering/feature-specs"


class Serving:
    """The serving endpoints of a workspace.

    Parameters
    ----------
    workspace
        Whose they are.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._urls: dict[str, str] = {}  # by name; endpoints do not move

    def services(self, called: Callable[[str], str]) -> Flow[list[FeatureService]]:
        """List the feature specs that are served.

        Parameters
        ----------
        called
            What the view of a table is called, by its full name.
        """
        found: Endpoints = yield self._listed()
        served = [
            entity
            for each in found.endpoints
            if each.config
            for entity in each.config.served_entities
        ]
        names = sorted({entity.entity_name for entity in served if entity.entity_name})
        paths = [f"{_SPECS}/{quote(name, safe='')}" for name in names]
        specs = yield from together(
            [self._workspace.registered(path, FeatureSpec) for path in paths],
            but=UnknownNameError,  # what is served is a model
        )
        return [service_of(spec, called) for spec in specs]

    def url(self, name: str) -> str:
        """Tell where an endpoint is queried: where it was found, else where they usually are."""
        usual = f"{self._workspace.host}/serving-endpoints/{quote(name, safe='')}/invocations"
        return self._urls.get(name, usual)

    def locate(self, names: Iterable[str]) -> Flow[None]:
        """Find where endpoints are queried: a route-optimized one has an address of its own.

        Raises
        ------
        UnknownNameError
            There is no such endpoint.
        AuthError
            The credentials cannot be exchanged for a token of a route-optimized one.
        """
        for name in dict.fromkeys(names):
            if name not in self._urls:
                self._urls[name] = yield from self._found(name)

    def _found(self, name: str) -> Flow[str]:
        path = f"{_SERVING}/{quote(name, safe='')}"
        try:
            found: Endpoint = yield self._workspace.registered(path, Endpoint)
        except UnknownNameError as error:
            _, near = yield from meant([name], self._names())
            msg = f"there is no serving endpoint {name!r}; {near} ({error})"
            raise UnknownNameError(msg) from error
        if not found.route_optimized:
            return self.url(name)
        info = found.query_info
        url = info.endpoint_url or found.endpoint_url or self.url(name)
        self._workspace.auth.admit(url, info.authorization_details or "")
        return url

    def ready(self, needed: Iterable[str | None]) -> Flow[str]:
        """Tell the states of all endpoints; those that are needed must be ready."""
        found: Endpoints = yield self._workspace.get(_SERVING, Endpoints)
        states = {each.name: each.state.ready for each in found.endpoints}
        for name in sorted(filter(None, needed)):
            if states.get(name) != "READY":
                state = states.get(name, "unknown")
                msg = f"the serving endpoint {name!r} is {state}; {nearest(name, states)}"
                raise StoreUnavailable(msg)
        return ", ".join(f"{name} {state}" for name, state in states.items()) or "none"

    def _names(self) -> Flow[list[str]]:
        listed: Endpoints = yield self._listed()
        return [each.name for each in listed.endpoints]

    def _listed(self) -> Call[Endpoints]:
        return self._workspace.registered(_SERVING, Endpoints)

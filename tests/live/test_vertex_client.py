"""featkit and Google's own client read the same fake: the same values, but for what is listed.

Each difference on purpose is a line of tests/live/differences.py, and of docs/stores/compare.md.
"""

import math
from datetime import datetime

import polars as pl
import pytest

import featkit
from featkit import Status
from featkit.testing import CONTRACT_NOW, contract_keys, contract_views
from tests.fakes.vertex import PLACE, STORE, VertexFake, google
from tests.fakes.vertex_grpc import streamed
from tests.live.differences import Translation
from tests.stores.test_vertex import opened

pytestmark = [
    pytest.mark.live,
    pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning"),
]
VIEWS = {view.name: view for view, _ in contract_views()}


differing = Translation("Vertex AI")


def as_featkit(said, dtype):
    """Say how featkit gives what Google's client gives, which came here as JSON."""
    value = said["value"]
    match dtype:
        case pl.Float64() if value is not None:
            return float(value)
        case pl.Binary() if value is not None:
            return bytes.fromhex(value)
        case _:
            return differing(value, dtype)


def plain(value):
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


@pytest.mark.parametrize("way", ["rest", "stream"])
@pytest.mark.parametrize("name", VIEWS)
def test_every_value_is_what_googles_own_client_says(vendor, name, way):
    keys = contract_keys(name)
    fake = VertexFake(contract_views())
    script = "ask_vertex.py" if way == "rest" else "ask_vertex_stream.py"
    with (
        google(fake) as url,
        streamed(fake) as place,
        featkit.connect(
            opened(url, grpc=way == "stream", grpc_endpoint=place), now=CONTRACT_NOW
        ) as client,
    ):
        request = {
            "grpc": place.removeprefix("http://"),
            "host": url.removeprefix("http://"),
            "token": "ya29-canary",
            "view": f"{PLACE}/featureOnlineStores/{STORE}/featureViews/{name}",
            "keys": [list(map(str, row)) for row in keys.iter_rows()],
        }
        answers = vendor(script, request, clients="cloud")
        found = client.lookup(keys, f"{name}:*")
        described = client.get_feature_metadata(name)
    for feature in described.features:
        values, statuses = found.values[feature.name].to_list(), found.statuses[feature.name]
        times = found.stamps(feature.name).to_list()
        for row, said in enumerate(answers):
            if said.get("error") == "NotFound":
                assert (values[row], statuses[row]) == (None, Status.NOT_FOUND)
                continue
            theirs = said[feature.name]
            assert plain(values[row]) == plain(as_featkit(theirs, feature.dtype)), feature.name
            assert statuses[row] != Status.NOT_FOUND
            if described.timestamp:
                assert times[row] == datetime.fromisoformat(theirs["time"])
    if name == "customers":  # which has a value of each kind
        assert differing.seen == differing.expected

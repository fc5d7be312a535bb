"""featkit and Tecton's own client read the same fake: the same values, but for what is documented.

Each difference on purpose is a line of tests/live/differences.py, and of docs/stores/compare.md.
"""

import math
from datetime import datetime

import polars as pl
import pytest

import featkit
from featkit import Status
from featkit.testing import CONTRACT_NOW, contract_keys, contract_views
from tests.fakes.tecton import KEY, WORKSPACE, Service, TectonFake
from tests.live.differences import Translation
from tests.stores.test_tecton import TOLD, recorded_service

pytestmark = [
    pytest.mark.live,
    pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning"),
]
VIEWS = {view.name: (view, rows) for view, rows in contract_views()}
STATUSES = {"PRESENT": {Status.PRESENT, Status.NULL, Status.EXPIRED, Status.FUTURE}}
STATUSES["MISSING_DATA"] = {Status.NOT_FOUND}


as_featkit = Translation("Tecton")


def plain(value):
    """Make NaN equal to itself."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return [plain(item) for item in value] if isinstance(value, list) else value


def compare(vendor, fake, service, frame, view, *, single):
    """Compare all that the client and featkit say about a view."""
    options = {"workspace": WORKSPACE, "api_key": KEY, "feature_services": [service]}
    with featkit.connect(
        f"tecton+{fake.url}", views=TOLD, row_timestamps=single, now=CONTRACT_NOW, **options
    ) as client:
        found = client.lookup(frame, f"{view}:*")
        described = client.get_feature_metadata(view)
    keys = [
        {name: str(own) if isinstance(own, int) else own for name, own in row.items()}
        for row in frame.to_dicts()
    ]
    request = {"url": fake.url, "key": KEY, "workspace": WORKSPACE, "service": service}
    said = vendor("ask_tecton.py", request | {"lookups": [{"join_keys": key} for key in keys]})
    assert said["join_keys"] == list(described.join_keys)
    assert [name.removeprefix(f"{view}.") for name in said["features"]] == list(
        described.feature_names
    )
    for name in described.feature_names:
        values, statuses = found.values[name], found.statuses[name]
        times = found.stamps(name)
        for row, answer in enumerate(said["answers"]):
            theirs = as_featkit(answer["values"][f"{view}.{name}"], values.dtype)
            assert plain(values[row : row + 1].to_list()[0]) == plain(theirs), (name, keys[row])
            assert statuses[row] in STATUSES[answer["statuses"][f"{view}.{name}"]]
            if single and described.timestamp:
                told = answer["times"][f"{view}.{name}"]
                assert times[row] == (told and datetime.fromisoformat(told))


@pytest.mark.parametrize("single", [False, True], ids=["batch", "single"])
@pytest.mark.parametrize("name", VIEWS)
def test_every_value_is_what_tectons_own_client_says(vendor, name, single):
    keys = contract_keys(name)
    if name == "notes":  # keys of 100,000 characters say nothing new, and are slow to write
        keys = keys.filter(pl.col("note_id").str.len_chars() < 1000)
    with TectonFake({name: Service.of(VIEWS[name])}) as fake:
        compare(vendor, fake, name, keys, name, single=single)


@pytest.mark.parametrize("single", [False, True], ids=["batch", "single"])
def test_every_recorded_type_is_read_alike(vendor, single):
    with TectonFake({"fs": recorded_service()}) as fake:
        frame = pl.DataFrame({"user_id": ["u1", "u2", "nobody"]})
        compare(vendor, fake, "fs", frame, "user_fv", single=single)


def test_each_difference_occurs(vendor):
    as_featkit.seen.clear()
    with TectonFake(
        {"fs": recorded_service(), "customers": Service.of(VIEWS["customers"])}
    ) as fake:
        frame = pl.DataFrame({"user_id": ["u1", "u2"]})
        compare(vendor, fake, "fs", frame, "user_fv", single=True)
        keys = contract_keys("customers")
        compare(vendor, fake, "customers", keys, "customers", single=False)
    assert as_featkit.seen == as_featkit.expected


def test_refusals_are_told_in_the_same_words(vendor):
    with TectonFake({"fs": recorded_service()}) as fake:
        request = {"url": fake.url, "key": KEY, "workspace": WORKSPACE, "service": "fs"}
        said = vendor("ask_tecton.py", request | {"lookups": [{"join_keys": {"x": "1"}}]})
    (answer,) = said["answers"]
    assert answer["error"] == "BadRequestError"
    assert "Missing required join key: user_id" in answer["message"]

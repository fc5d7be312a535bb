"""``featkit views`` and ``featkit show``: what a store holds."""

from featkit import terminal
from featkit.cli.app import JsonOption, NowOption, StoreOption, ViewArgument, connect


def views(*, store: StoreOption = None, now: NowOption = None, json: JsonOption = None) -> None:
    """List feature views and feature services."""
    client = connect(store, now)
    found, services = client.list_feature_views(), client.list_feature_services()
    if json:
        content = {
            "feature_views": [terminal.view_content(view) for view in found],
            "feature_services": [terminal.service_content(service) for service in services],
        }
        terminal.write_json(content, json)
        return
    table = terminal.table(
        "feature view", "join keys", "ttl", "features", "about", numbers=["features"]
    )
    for view in found:
        sentence = view.description.partition(". ")[0].removesuffix(".")
        keys = ", ".join(view.join_keys)
        table.add_row(view.name, keys, terminal.ttl(view), str(len(view.features)), sentence)
    console = terminal.console()
    console.print(table)
    for service in services:
        console.print(f"\nfeature service {service.name}: {service.description}".rstrip(": "))
        console.print("  " + "\n  ".join(map(str, service.features)))


def show(
    view: ViewArgument, *, store: StoreOption = None, now: NowOption = None, json: JsonOption = None
) -> None:
    """Describe a feature view: its keys, its times, its features."""
    found = connect(store, now).get_feature_metadata(view)
    if json:
        terminal.write_json(terminal.view_content(found), json)
        return
    facts = {
        "feature view": found.name,
        "description": found.description,
        "join keys": ", ".join(f"{key.join_key} ({terminal.dtype(key)})" for key in found.entities),
        "event timestamp": found.timestamp or "none: the view is static",
        "created timestamp": found.created,
        "ttl": terminal.ttl(found) if found.timestamp else None,
        "source": found.source,
        "owner": found.owner,
        "tags": ", ".join(f"{name}={value}" for name, value in found.tags.items()),
        "made from": ", ".join(found.made_from),
        "used by": ", ".join(found.used_by),
    }
    about, features = terminal.table(), terminal.table("feature", "dtype", "description")
    for name, fact in facts.items():
        if fact:
            about.add_row(name, fact)
    for feature in found.features:
        features.add_row(feature.name, terminal.dtype(feature), feature.description)
    terminal.console().print(about, "", features)

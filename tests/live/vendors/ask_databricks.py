"""What Databricks' own client reads: outputs of an endpoint, and a table of Unity Catalog.

    python ask_databricks.py < request.json

Runs in the environment of the vendors' clients. The request, where either a token or the id and
the secret of a service principal are given:

    {"host": "http://...", "token": "...", "client_id": "...", "client_secret": "...",
     "endpoint": "fs_ep", "columns": ["user_id"], "data": [[1], [2]], "table": "main.f.users",
     "catalog": "main", "schema": "f"}
"""

import json
import sys

from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config
from databricks.sdk.errors import DatabricksError
from databricks.sdk.service.serving import DataframeSplitInput


def main():
    request = json.load(sys.stdin)
    known = ("host", "token", "client_id", "client_secret")
    given = {name: request[name] for name in known if request.get(name)}
    client = WorkspaceClient(config=Config(retry_timeout_seconds=5, **given))
    asked = DataframeSplitInput(
        columns=request["columns"], data=request["data"], index=list(range(len(request["data"])))
    )
    said = {}
    try:
        said["outputs"] = client.serving_endpoints.query(
            request["endpoint"], dataframe_split=asked
        ).outputs
        said["table"] = client.tables.get(request["table"]).as_dict()
        listed = client.tables.list(request["catalog"], request["schema"])
        said["tables"] = [table.name for table in listed]
    except DatabricksError as error:
        said["error"] = {"kind": type(error).__name__, "message": str(error)}
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()

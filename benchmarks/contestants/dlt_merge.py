"""dlt: its rest_api source with its offset paginator into Postgres, write disposition merge on sys_id. It loads by CSV
(COPY), which is faster than its default of INSERT statements. Its parallel settings: threads for extract and load, and
as many normalize processes as the variant says, with files small enough that each gets some.
"""

from __future__ import annotations

import os
import time

from benchmarks.contest import Outcome, Task, enter
from benchmarks.incidents import TABLE

PAGE = 1_000
SETTINGS = {
    "EXTRACT__WORKERS": "4",
    "LOAD__WORKERS": "4",
    "DATA_WRITER__FILE_MAX_ITEMS": "10000",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
}


def load(task: Task) -> Outcome:
    os.environ.update(SETTINGS | {"NORMALIZE__WORKERS": task.variant, "DLT_DATA_DIR": task.home})
    import dlt  # type: ignore[import-not-found,unused-ignore]
    from dlt.sources.rest_api import rest_api_source  # type: ignore[import-not-found,unused-ignore]
    from dlt.sources.rest_api.typing import RESTAPIConfig  # type: ignore[import-not-found,unused-ignore]

    config: RESTAPIConfig = {
        "client": {
            "base_url": f"{task.url}/api/now/",
            "auth": {"type": "http_basic", "username": "admin", "password": "admin"},
            "paginator": {
                "type": "offset",
                "limit": PAGE,
                "offset_param": "sysparm_offset",
                "limit_param": "sysparm_limit",
                "total_path": None,
            },
        },
        "resources": [
            {
                "name": TABLE,
                "primary_key": "sys_id",
                "write_disposition": "merge",
                "endpoint": {"path": f"table/{task.table}", "params": dict(task.params), "data_selector": "result"},
                "parallelized": True,
            }
        ],
    }
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=f"{task.home}/pipelines",
        destination=dlt.destinations.postgres(task.dsn),
        dataset_name="bench",
    )
    begun = time.perf_counter()
    pipeline.run(rest_api_source(config), loader_file_format="csv").raise_on_failed_jobs()
    seconds = time.perf_counter() - begun
    with pipeline.sql_client() as client:
        found = client.execute_sql(f"SELECT count(*) FROM {TABLE}")
    return Outcome(seconds, found[0][0] if found else 0, f"dlt {dlt.__version__}, csv, pages of {PAGE:,}, no labels")


if __name__ == "__main__":
    enter(load)

"""Downloads and builds what the tests start, where it is not in the cache yet: `python -m tests.prepare`.

Some of it takes minutes the first time, which no test should be charged with. What cannot be had here is said, and its
tests will skip for that reason; where it is required, this ends with 1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests import (
    azurite,
    chromium,
    gcs,
    hdfs,
    helm,
    minio,
    mlcroissant,
    mlflow_server,
    mlserver,
    moto,
    oidc,
    promtool,
    ray,
    relay_compiler,
    services,
    tensorflow_api,
    torchserve,
)
from tests.federation import servers
from tests.live import serving
from tests.openlineage import clients
from tests.schema import graphql_js
from tests.ui import building

PARTS: Final[Mapping[str, Callable[[], Path]]] = {
    "Neo4j": services.neo4j_jars,
    "the OpenID provider": oidc.node_modules,
    "Azurite": azurite.node_modules,
    "the driver of Chromium": chromium.node_modules,
    "what the pages are built from": building.node_modules,
    "what the example frontend is built from": building.frontend_modules,
    "Hadoop": hdfs.hadoop_jars,
    "fake-gcs-server": gcs.gcs_binary,
    "Helm": helm.helm_binary,
    "MinIO": minio.minio_binary,
    "MLflow": mlflow_server.mlflow_python,
    "MLServer": mlserver.mlserver_python,
    "moto": moto.moto_python,
    "Croissant's library": mlcroissant.mlcroissant_python,
    "Prometheus' promtool": promtool.promtool_binary,
    "Relay's compiler": relay_compiler.node_modules,
    "GraphQL's packages for JavaScript": graphql_js.node_modules,
    "Apollo's gateway": servers.apollo_modules,
    "Hive Gateway": servers.hive_modules,
    "OpenLineage's client": clients.openlineage_python,
    "the clients of GraphQL": serving.node_modules,
    "Ray": ray.ray_python,
    "TensorFlow Serving's API": tensorflow_api.tensorflow_api_python,
    "TorchServe": torchserve.torchserve_python,
}


def main() -> int:
    """Fetch one after the other; the exit code."""
    failed = 0
    for name, fetch in PARTS.items():
        sys.stdout.write(f"{name}: ")
        sys.stdout.flush()
        try:
            fetch()
        except pytest.skip.Exception as skipped:
            sys.stdout.write(f"not here: {skipped.msg}\n")
        except pytest.fail.Exception as error:
            sys.stdout.write(f"{error.msg}\n")
            failed = 1
        else:
            sys.stdout.write("there\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())

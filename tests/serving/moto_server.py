"""Amazon's API by moto, in an environment of its own: `python moto_server.py PORT`, which knows nothing of Lineal.

To moto's SageMaker it adds what moto has not: UpdateEndpoint, endpoints that take some looks to come up or to change,
and models that fail to load (those whose data is not at an address that ends with a number). As SageMaker does, an
endpoint whose change failed goes on as it was and says why.
"""

from __future__ import annotations

import sys
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.sagemaker.exceptions import AWSValidationException
from moto.sagemaker.models import FakeEndpoint, SageMakerModelBackend
from moto.sagemaker.responses import SageMakerResponse
from moto.server import main

LOOKS = 2
"""Looks until an endpoint has come up or changed."""

_create = SageMakerModelBackend.create_endpoint
_describe = SageMakerModelBackend.describe_endpoint
_create_model = SageMakerModelBackend.create_model


def create_endpoint(self: Any, endpoint_name: str, endpoint_config_name: str, tags: Any) -> FakeEndpoint:
    """Creating at first."""
    endpoint = _create(self, endpoint_name, endpoint_config_name, tags)
    endpoint.endpoint_status = "Creating"
    endpoint.looks, endpoint.goes_to = LOOKS, endpoint_config_name
    return endpoint


def update_endpoint(self: Any, endpoint_name: str, endpoint_config_name: str) -> FakeEndpoint:
    """Updating, with what it was before."""
    endpoint = self.endpoints.get(endpoint_name)
    if endpoint is None:
        raise AWSValidationException(f'Could not find endpoint "{endpoint_name}".')
    if endpoint_config_name not in self.endpoint_configs:
        raise AWSValidationException(f'Could not find endpoint configuration "{endpoint_config_name}".')
    if endpoint.endpoint_status not in {"InService", "OutOfService"}:
        raise AWSValidationException(f'Cannot update in-progress endpoint "{endpoint_name}".')
    endpoint.endpoint_status, endpoint.failure_reason = "Updating", None
    endpoint.looks, endpoint.goes_to = LOOKS, endpoint_config_name
    endpoint.last_modified_time = utcnow()
    return endpoint


def describe_endpoint(self: Any, endpoint_name: str) -> Any:
    """One step further at each look."""
    endpoint = self.endpoints.get(endpoint_name)
    if endpoint is not None and endpoint.endpoint_status in {"Creating", "Updating"}:
        endpoint.looks -= 1
        if endpoint.looks <= 0:
            _arrive(self, endpoint)
    return _describe(self, endpoint_name)


def _arrive(backend: Any, endpoint: Any) -> None:
    variants = backend.endpoint_configs[endpoint.goes_to].production_variants
    endpoint.last_modified_time = utcnow()
    if all(_loads(backend._models[each["ModelName"]]) for each in variants):
        endpoint.endpoint_status = "InService"
        endpoint.endpoint_config_name = endpoint.goes_to
        endpoint.production_variants = endpoint._process_production_variants(variants)
        return
    endpoint.failure_reason = "The primary container for production variant did not pass the ping health check."
    endpoint.endpoint_status = "Failed" if endpoint.endpoint_status == "Creating" else "InService"


def _loads(model: Any) -> bool:
    uri = model.primary_container["ModelDataSource"]["S3DataSource"]["S3Uri"]
    return bool(uri.rstrip("/").rpartition("/")[2].isdigit())


def create_model(self: Any, model_name: str, **more: Any) -> Any:
    """As SageMaker, refuse a name that is taken."""
    if model_name in self._models:
        raise AWSValidationException(f'Cannot create already existing model "{model_name}".')
    return _create_model(self, model_name=model_name, **more)


def respond_to_update(self: Any) -> ActionResult:
    """The action UpdateEndpoint."""
    name, config = self._get_param("EndpointName"), self._get_param("EndpointConfigName")
    endpoint = self.sagemaker_backend.update_endpoint(endpoint_name=name, endpoint_config_name=config)
    return ActionResult({"EndpointArn": endpoint.arn})


SageMakerModelBackend.create_endpoint = create_endpoint
SageMakerModelBackend.update_endpoint = update_endpoint
SageMakerModelBackend.describe_endpoint = describe_endpoint
SageMakerModelBackend.create_model = create_model
SageMakerResponse.update_endpoint = respond_to_update

if __name__ == "__main__":
    main(["-H", "127.0.0.1", "-p", sys.argv[1]])

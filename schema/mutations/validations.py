"""Mutations of validations."""

from __future__ import annotations

from typing import Final

import strawberry

from graph import ontology
from resolvers.lifecycle import validating
from resolvers.lifecycle.evaluating import MAX_SLICES
from schema.lifecycle import Validation
from schema.mutations.declare import Noun, does, key, many, may, need, takes
from schema.mutations.inputs import ArtifactInput, MetricInput, ParamInput, ReportInput, SliceInput
from schema.scalars import JSON, BigInt

VALIDATION: Final = Noun(ontology.VALIDATION, Validation, "validation", "validation", "validations:/va_…")

_EPOCH: Final = "The epoch that the lease came with. That of an earlier attempt is a CONFLICT."
_SECONDS: Final = (
    f"How long the worker may be silent, {validating.MIN_LEASE} to {validating.MAX_LEASE} seconds; afterwards the "
    "validation goes to another one."
)


@takes("A validation to queue.")
class RequestValidationInput:
    version: strawberry.ID = need("What is to be checked: an id, or an address such as models:/name/3.")
    suite: str = need("What is to be run; workers say which suites they take.")
    datasets: list[strawberry.ID] = many(
        f"What it is to be checked on, at most {validating.MAX_DATASETS} data sets or versions of such: ids, or "
        "addresses such as datasets:/name/v2."
    )
    settings: JSON | None = may("What the worker is given beside it, as a JSON object.", None)
    timeout_seconds: int = may("How long one attempt may take.", validating.DEFAULT_TIMEOUT)
    max_attempts: int = may("How often it is begun at most, 1 to 100.", validating.DEFAULT_ATTEMPTS)
    idempotency_key: str | None = key()


@takes("A worker that wants something to do.")
class LeaseValidationInput:
    suites: list[str] = need(f"The suites that it takes, 1 to {validating.MAX_SUITES}.")
    worker: str = need("What it is called: for people, nothing depends on it.")
    seconds: int = may(_SECONDS, validating.DEFAULT_LEASE)


@takes("A worker that is still at it.")
class HeartbeatValidationInput:
    address: strawberry.ID = VALIDATION.address
    epoch: BigInt = need(_EPOCH)
    seconds: int = may(_SECONDS, validating.DEFAULT_LEASE)


@takes("What came of an attempt.")
class ReportValidationInput:
    address: strawberry.ID = VALIDATION.address
    epoch: BigInt = need(_EPOCH)
    success: bool = need("Whether the version passed.")
    message: str | None = may("What there is to say about it.", None)
    retry: bool = may(
        "It was not the version that failed, but the attempt: let it be made again while attempts are left.", False
    )
    uncounted: bool = may(
        "With retry: the worker gives it back, as when it is stopped, and the attempt is not counted.", False
    )
    metrics: list[MetricInput] = many("What was measured.")
    slices: list[SliceInput] = many(f"What was measured on parts of the data, at most {MAX_SLICES} parts.")
    params: list[ParamInput] = many("How it was measured.")
    run: strawberry.ID | None = may("The run that measured it: an id, or an address such as runs:/name.", None)
    artifacts: list[ArtifactInput] = many("Files of the evaluation.")
    report: ReportInput | None = may("Its report; it becomes the evaluation's artifact called report.")
    idempotency_key: str | None = key()


@takes("A validation that shall not be run.")
class CancelValidationInput:
    address: strawberry.ID = VALIDATION.address
    reason: str | None = may("Why.", None)


@strawberry.type(description="Mutations of validations.")
class ValidationMutations:
    request_validation = does(
        validating.request_validation,
        RequestValidationInput,
        "Queues a check of a model version for a worker that leases, runs and reports it.",
        VALIDATION.answer,
    )
    lease_validation = does(
        validating.lease_validation,
        LeaseValidationInput,
        "Gives a worker the oldest validation that waits, or whose worker was not heard of in time, and nobody else; "
        "null where there is none.",
        VALIDATION.answer,
    )
    heartbeat_validation = does(
        validating.heartbeat_validation,
        HeartbeatValidationInput,
        "Keeps a validation for the worker that has it. A CONFLICT says that it has it no more.",
        VALIDATION.answer,
    )
    report_validation = does(
        validating.report_validation,
        ReportValidationInput,
        "Ends an attempt, and records what was measured as an evaluation of the version on the data, in one "
        "transaction.",
        VALIDATION.answer,
    )
    cancel_validation = does(
        validating.cancel_validation, CancelValidationInput, "Lets a validation not be run.", VALIDATION.answer
    )

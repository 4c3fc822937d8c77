"""OFREP 0.3, the OpenFeature Remote Evaluation Protocol: any OpenFeature SDK evaluates flags here.

One set of routes serves one environment, because an OFREP client is configured with a base address and headers only.
Further environments are mounted below a path of their own, which their clients use as base address:
`Mount("/staging", routes=ofrep_routes(service, "staging", tokens))`.
"""

import hashlib
import hmac
import json
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tools.errors import ConfigurationError
from tools.flags.base import FlagServiceUnavailable
from tools.flags.definitions import DefinitionSource
from tools.flags.evaluation import Evaluation, EvaluationFailed, FlagDefinition, InvalidContext, Reason, evaluate

MAX_BODY_BYTES = 64 * 1024

# The protocol has no DEFAULT among its reasons. A rule, the audience, did give the answer; STATIC would be a lie.
PROTOCOL_REASONS = {Reason.DEFAULT: Reason.TARGETING_MATCH}


class UnreadableBody(EvaluationFailed):
    """The request's body is not JSON."""

    code = "PARSE_ERROR"


def ofrep_routes(service: DefinitionSource, environment: str, tokens: Collection[str] = ()) -> list[Route]:
    """Single and bulk evaluation of the environment's flags.

    With tokens, a request must carry one of them, as `Authorization: Bearer …` or `X-API-Key: …`; without, anyone who
    can reach the port may evaluate. Raises ConfigurationError for an empty token.
    """
    if isinstance(tokens, str) or not all(token.strip() for token in tokens):
        raise ConfigurationError("The OFREP tokens must be a list of tokens, none of them empty.")
    endpoints = _Endpoints(service, environment, [token.encode() for token in tokens])
    return [
        Route("/ofrep/v1/evaluate/flags", endpoints.bulk, methods=["POST"], max_body_size=MAX_BODY_BYTES),
        # Keys may hold slashes, which some clients escape and some don't.
        Route("/ofrep/v1/evaluate/flags/{key:path}", endpoints.single, methods=["POST"], max_body_size=MAX_BODY_BYTES),
    ]


class _Endpoints:
    def __init__(self, service: DefinitionSource, environment: str, tokens: list[bytes]) -> None:
        self._service = service
        self._environment = environment
        self._tokens = tokens

    async def single(self, request: Request) -> Response:
        key = request.path_params["key"]
        if not self._authorized(request):
            return _unauthorized()
        try:
            context = await _context(request)
            definition = (await self._service.definitions(self._environment)).get(key)
            if definition is None:
                return _flag_not_found(key, self._environment)
            return JSONResponse(_success(definition, evaluate(definition, context)))
        except EvaluationFailed as error:
            return JSONResponse(_failure(key, error), HTTPStatus.BAD_REQUEST)
        except FlagServiceUnavailable as error:
            return _unavailable(error)

    async def bulk(self, request: Request) -> Response:
        if not self._authorized(request):
            return _unauthorized()
        try:
            context = await _context(request)
            definitions = await self._service.definitions(self._environment)
        except EvaluationFailed as error:
            return JSONResponse(_error(error), HTTPStatus.BAD_REQUEST)
        except FlagServiceUnavailable as error:
            return _unavailable(error)
        answer = JSONResponse({"flags": [_outcome(definitions[key], context) for key in sorted(definitions)]})
        return _conditional(request, answer)

    def _authorized(self, request: Request) -> bool:
        if not self._tokens:
            return True
        given = _token(request)
        # Every token is compared, so that the time taken says nothing about which one is near.
        return sum(hmac.compare_digest(given, token) for token in self._tokens) > 0


def _token(request: Request) -> bytes:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    text = credentials.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    return text.encode("latin-1")


async def _context(request: Request) -> Mapping[str, object]:
    """The evaluation context, empty when the request has none. Raises UnreadableBody, InvalidContext."""
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise UnreadableBody("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise InvalidContext("The body must be a JSON object with a context.")
    context = body.get("context")
    if context is None:
        return {}
    if not isinstance(context, dict):
        raise InvalidContext("The context must be a JSON object.")
    return context


def _outcome(definition: FlagDefinition, context: Mapping[str, object]) -> dict[str, Any]:
    try:
        return _success(definition, evaluate(definition, context))
    except EvaluationFailed as error:
        return _failure(definition.key, error)


def _success(definition: FlagDefinition, evaluation: Evaluation) -> dict[str, Any]:
    metadata = {"version": definition.version}
    if evaluation.shadow is not None:
        metadata["shadow"] = evaluation.shadow
    return {
        "key": definition.key,
        "value": evaluation.variant,
        "reason": PROTOCOL_REASONS.get(evaluation.reason, evaluation.reason),
        "variant": evaluation.variant,
        "metadata": metadata,
    }


def _failure(key: str, error: EvaluationFailed) -> dict[str, Any]:
    return {"key": key, **_error(error)}


def _error(error: EvaluationFailed) -> dict[str, Any]:
    return {"errorCode": error.code, "errorDetails": str(error)}


def _flag_not_found(key: str, environment: str) -> Response:
    details = f"There is no flag {key!r} in {environment}."
    content = {"key": key, "errorCode": "FLAG_NOT_FOUND", "errorDetails": details}
    return JSONResponse(content, HTTPStatus.NOT_FOUND)


def _unauthorized() -> Response:
    return JSONResponse(
        {"errorDetails": "Send a valid token as Authorization: Bearer or X-API-Key."},
        HTTPStatus.UNAUTHORIZED,
        {"WWW-Authenticate": "Bearer"},
    )


def _unavailable(error: FlagServiceUnavailable) -> Response:
    return JSONResponse({"errorDetails": str(error)}, HTTPStatus.INTERNAL_SERVER_ERROR)


def _conditional(request: Request, answer: JSONResponse) -> Response:
    """The answer with its ETag, or 304 when the client already has it."""
    tag = hashlib.sha256(bytes(answer.body)).hexdigest()
    headers = {"ETag": f'"{tag}"'}
    known = {_bare(candidate) for candidate in request.headers.get("if-none-match", "").split(",")}
    if tag in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    answer.headers.update(headers)
    return answer


def _bare(tag: str) -> str:
    """An entity tag without weakness mark and quotes, which some clients leave out."""
    return tag.strip().removeprefix("W/").strip('"')

"""Which code path a request gets: asked of the flag service through OpenFeature, on every request."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails
from openfeature.provider import FeatureProvider

from bot.demo.checkout import Visit

THREADS = 16
FLAG_TIMEOUT_S = 1.0
MAX_ERROR = 200


@dataclass(frozen=True, slots=True)
class Assignment:
    """The variant to serve, the one to run beside it in shadow, and why the flag could not be evaluated."""

    variant: str
    shadow: str | None = None
    error: str | None = None


def ofrep_provider(base_url: str) -> OFREPProvider:
    """OpenFeature's own OFREP provider, with as many kept-alive connections as there are threads that ask."""
    provider = OFREPProvider(base_url, timeout=FLAG_TIMEOUT_S)
    # Reading the proxy settings of the environment takes longer than the whole evaluation.
    provider.session.trust_env = False
    # The session's own class of adapter: what the provider makes its requests with is its own affair.
    adapter: Any = type(provider.session.get_adapter(base_url))
    provider.session.mount(base_url, adapter(pool_connections=1, pool_maxsize=THREADS))
    return provider


class Assignments:
    """Evaluates one flag. Without an answer control is served: a checkout works without a flag service."""

    def __init__(self, provider: FeatureProvider, flag: str, control: str) -> None:
        api.set_provider_and_wait(provider, flag)
        self._client = api.get_client(flag)
        self._flag = flag
        self._control = control
        # The provider's requests block.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="openfeature")

    async def of(self, visit: Visit) -> Assignment:
        """The visit's assignment, the same for a customer as long as the flag's exposure is not lowered."""
        context = EvaluationContext(visit.customer, {"tenant": visit.tenant, "region": visit.region})
        details = await asyncio.get_running_loop().run_in_executor(self._threads, self._evaluate, context)
        if details.error_code is not None:
            return Assignment(self._control, error=f"{details.error_code.value}: {details.error_message}"[:MAX_ERROR])
        shadow = details.flag_metadata.get("shadow")
        return Assignment(details.value, shadow=str(shadow) if shadow is not None else None)

    def close(self) -> None:
        """Let go of threads and connections."""
        self._threads.shutdown(cancel_futures=True)
        api.clear_providers()

    def _evaluate(self, context: EvaluationContext) -> FlagEvaluationDetails[str]:
        return self._client.get_string_details(self._flag, self._control, context)

"""Enforces client quotas as Kafka does: the answer goes out at once and says how long its client is
throttled, and that long the connection is not read (KIP-13, KIP-124, KIP-219, KIP-599).

While a quota is set, the rows of the API table are wrapped: decoding notes a request's size, handling is
timed and its response told the throttle time. Without quotas the rows are as they were, so nobody pays.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from odradek.broker.quota_limits import Limit, QuotaLimits
from odradek.broker.rates import Rate, TokenBucket
from odradek.broker.requests import Close, RequestContext, Session, Wait
from odradek.broker.table import FETCH, PRODUCE, Api
from odradek.cluster.image import ClusterImage, QuotaEntity
from odradek.cluster.quotas import (
    CONNECTION_CREATION_RATE,
    CONSUMER_BYTE_RATE,
    CONTROLLER_MUTATION_RATE,
    PRODUCER_BYTE_RATE,
    REQUEST_PERCENTAGE,
)
from odradek.core.errors import ApiError, ErrorCode

if TYPE_CHECKING:
    from odradek.broker.broker import Broker
    from odradek.protocol.generated.fetch import FetchRequest, FetchResponse

EXPIRY_MS = 3_600_000
"""What nobody has used for an hour is forgotten, as by Kafka."""
_NS_TO_PERCENT_SECONDS = 100 / 1e9
_Key = tuple[str, tuple[str, str]]


class Quotas:
    """Who has used how much; follows the image through :meth:`apply`.

    ``throttled_ms`` sums up what clients were told to wait.
    """

    def __init__(self, broker: "Broker") -> None:
        config = broker.config
        self._broker = broker
        self._clock = broker.clock
        self._window_count = config.quota_window_num
        self._window_ms = config.quota_window_size_seconds * 1_000
        self._burst_s = config.controller_quota_window_num * config.controller_quota_window_size_seconds
        self.limits = QuotaLimits({})
        self._known: Mapping[QuotaEntity, Mapping[str, float]] = {}
        self._rates: dict[_Key, Rate] = {}
        self._buckets: dict[_Key, TokenBucket] = {}
        self._request_bytes = 0
        """Size of the request that is being handled."""
        self._mutation_throttle_ms = 0
        """What the request that is being handled has earned itself by its mutations."""
        self.throttled_ms = 0

    def apply(self, image: ClusterImage) -> None:
        """Takes up the quotas of ``image``; what was used counts on."""
        if image.quotas is self._known:
            return
        self._known = image.quotas
        was_on = self.limits.for_clients
        self.limits = QuotaLimits(image.quotas)
        if self.limits.for_clients == was_on:
            return
        around = self._wrap if self.limits.for_clients else None
        for api in self._broker.apis.values():
            api.surround(around)

    # Requests

    def _wrap(self, api: Api) -> None:
        decode, handle = api.decode, api.handle

        def decode_noting_size(frame: memoryview, position: int, version: int) -> tuple[Any, int]:
            self._request_bytes = len(frame)
            return decode(frame, position, version)

        def handle_within_quotas(broker: "Broker", request: Any, context: RequestContext) -> Any:
            return self._handle(api, handle, request, context)

        api.decode, api.handle = decode_noting_size, handle_within_quotas
        # What is answered without being decoded is not measured; what was learnt before ends with the image.
        api.learn = None

    def _handle(self, api: Api, handle: Callable[..., Any], request: Any, context: RequestContext) -> Any:
        size = self._request_bytes
        self._mutation_throttle_ms = 0
        if api.key == FETCH:
            self._cap_fetch(request, context)
        started_ns = self._clock.monotonic_ns()
        try:
            answer = handle(self._broker, request, context)
        except ApiError as error:
            api.failures += 1
            answer = api.refuse(request, error.code, error.message)
        took_ns = self._clock.monotonic_ns() - started_ns
        mutation_throttle_ms = self._mutation_throttle_ms
        if type(answer) is Close:
            return answer
        is_exempt = answer is None

        def throttle(response: Any) -> Any:
            if isinstance(response, ApiError):
                api.failures += 1
                response = api.refuse(request, response.code, response.message)
            throttle_ms = max(mutation_throttle_ms, self._spend_time(context, took_ns))
            if api.key == PRODUCE:
                throttle_ms = max(throttle_ms, self._spend(PRODUCER_BYTE_RATE, context, size))
            elif api.key == FETCH:
                throttle_ms, response = self._throttle_fetch(request, context, response, throttle_ms)
            if throttle_ms:
                if hasattr(response, "throttle_time_ms"):  # not all of them can tell
                    response.throttle_time_ms = max(response.throttle_time_ms, throttle_ms)
                self.mute(context.session, throttle_ms)
            return response

        if type(answer) is Wait:
            answer.before_encoding(throttle)
            return answer
        if is_exempt:
            # acks=0: nobody can be told, but the connection can be left alone.
            throttle_ms = self._spend(PRODUCER_BYTE_RATE, context, size)
            if throttle_ms:
                self.mute(context.session, throttle_ms)
            return answer
        return throttle(answer)

    def mute(self, session: Session, throttle_ms: int) -> None:
        """Reads nothing from a connection for so long."""
        self.throttled_ms += throttle_ms
        until_ms = self._clock.monotonic_ms() + throttle_ms
        if until_ms <= session.muted_until_ms:
            return
        session.muted_until_ms = until_ms
        if session.on_muted is not None:
            session.on_muted(True)

        def end() -> None:
            if session.muted_until_ms == until_ms and session.on_muted is not None:
                session.on_muted(False)

        self._broker.timers.schedule(until_ms, end)

    def _spend(self, key: str, context: RequestContext, amount: float) -> int:
        """Records ``amount`` and returns how long to throttle for it, milliseconds."""
        limit = self._limit(key, context)
        if limit is None:
            return 0
        rate, now_ms = self._rate(key, limit), self._clock.monotonic_ms()
        rate.record(amount, now_ms)
        return rate.throttle_ms(limit.value, now_ms)

    def _spend_time(self, context: RequestContext, took_ns: int) -> int:
        throttle_ms = self._spend(REQUEST_PERCENTAGE, context, took_ns * _NS_TO_PERCENT_SECONDS)
        return min(throttle_ms, self._window_ms)

    def _limit(self, key: str, context: RequestContext) -> Limit | None:
        return self.limits.client(key, context.session.user, context.client_id or "")

    def _rate(self, key: str, limit: Limit) -> Rate:
        rate = self._rates.get((key, limit.shared_by))
        if rate is None:
            self._forget_idle()
            rate = self._rates[key, limit.shared_by] = Rate(self._window_count, self._window_ms)
        return rate

    def _forget_idle(self) -> None:
        oldest_ms = self._clock.monotonic_ms() - EXPIRY_MS
        self._rates = {key: rate for key, rate in self._rates.items() if rate.last_used_ms >= oldest_ms}
        self._buckets = {key: one for key, one in self._buckets.items() if one.last_used_ms >= oldest_ms}

    # Fetch

    def _cap_fetch(self, request: "FetchRequest", context: RequestContext) -> None:
        """Asks for no more than a whole window allows, else it could never be answered."""
        limit = self._limit(CONSUMER_BYTE_RATE, context)
        if limit is not None:
            most = int(limit.value * (self._window_count - 1) * self._window_ms / 1_000)
            request.max_bytes = min(request.max_bytes, most)
            request.min_bytes = min(request.min_bytes, request.max_bytes)

    def _throttle_fetch(
        self, request: "FetchRequest", context: RequestContext, response: "FetchResponse", throttle_ms: int
    ) -> "tuple[int, FetchResponse]":
        """A fetch that is throttled gets no records, and they are not counted: it comes again for them."""
        limit = self._limit(CONSUMER_BYTE_RATE, context)
        if limit is not None:
            parts: list[Any] = []
            response.encode(parts, context.api_version)
            size = sum(map(len, parts))
            throttle_ms = max(throttle_ms, self._spend(CONSUMER_BYTE_RATE, context, size))
            if throttle_ms:
                self._rate(CONSUMER_BYTE_RATE, limit).record(-size, self._clock.monotonic_ms())
        if not throttle_ms:
            return 0, response
        self._broker.fetch_sessions.forget_told(request.session_id)
        session_id = response.session_id if request.session_epoch > 0 else 0
        return throttle_ms, type(response)(session_id=session_id, responses=[])

    # Mutations and connections

    def admit_mutations(self, context: RequestContext, count: int, *, is_strict: bool) -> ApiError | None:
        """Takes ``count`` partitions, made or deleted, off the client's quota. When ``is_strict`` and it is
        used up, nothing is taken and the error to answer is returned; else the connection is throttled."""
        limit = self._limit(CONTROLLER_MUTATION_RATE, context)
        if limit is None or not count:
            return None
        now_ms = self._clock.monotonic_ms()
        key = (CONTROLLER_MUTATION_RATE, limit.shared_by)
        bucket = self._buckets.get(key)
        if bucket is None:
            self._forget_idle()
            bucket = self._buckets[key] = TokenBucket(self._burst_s)
        if is_strict:
            throttle_ms = bucket.throttle_ms(limit.value, now_ms)
            if throttle_ms:
                self._mutation_throttle_ms = max(self._mutation_throttle_ms, throttle_ms)
                return ApiError(
                    ErrorCode.THROTTLING_QUOTA_EXCEEDED, "The throttling quota has been exceeded."
                )
            bucket.take(count, limit.value, now_ms)
            return None
        bucket.take(count, limit.value, now_ms)
        self._mutation_throttle_ms = max(self._mutation_throttle_ms, bucket.throttle_ms(limit.value, now_ms))
        return None

    def connection_throttle_ms(self, host: str) -> int:
        """Records a new connection of ``host``; how long too early it comes."""
        value = self.limits.address(CONNECTION_CREATION_RATE, host)
        if value is None:
            return 0
        rate, now_ms = (
            self._rate(CONNECTION_CREATION_RATE, Limit(value, (host, ""))),
            self._clock.monotonic_ms(),
        )
        rate.record(1, now_ms)
        throttle_ms = rate.throttle_ms(value, now_ms)
        if throttle_ms:
            rate.record(-1, now_ms)
        return throttle_ms

"""The connection to Redis as its settings ask for it: TLS, a password, Sentinel; and a look at it before the start."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterable, Iterator
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from redis.asyncio import Connection, Redis, Sentinel, SSLConnection
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool, SentinelManagedConnection, SentinelManagedSSLConnection
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError
from redis.exceptions import ConnectionError as RedisConnectionError

from platolm.keepalive import keepalive_options
from services.gateway.errors import MISUSE, StartError
from services.orchestrator.redis_settings import RedisSettings, sentinel_address

HEALTH_CHECK_EVERY_S = 30


def open_redis(settings: RedisSettings) -> Redis:
    """The client that `Queue` wants. Nothing is sent before the first call.

    A connection that broke is tried again once, at once; callers have the patience (`redis_patiently`). An answer that
    does not come is not waited for a second time.
    """
    options = {"decode_responses": True, "health_check_interval": HEALTH_CHECK_EVERY_S, **_who(settings)}
    scheme = urlsplit(settings.redis_url).scheme
    if settings.redis_uses_tls:
        options |= _tls_files(settings)
    if settings.redis_sentinels:
        return _following(settings, options)
    if scheme in _CONNECTIONS:
        options |= _bounds(settings, Retry)
        options["connection_class"] = _CONNECTIONS[scheme]
    return Redis.from_url(settings.redis_url, **options)


def check_redis(settings: RedisSettings) -> None:
    """Ask Redis once, before anything is started, for settings that can never work.

    That it is away says nothing: it may come.

    Raises:
        StartError: it refuses the password or the user, its certificate is not trusted, or no sentinel knows the
            master; with the exit code of a misuse.
    """
    prefix = str(settings.model_config.get("env_prefix", ""))
    if settings.redis_sentinels:
        _check_sentinels(settings, prefix)
    try:
        with contextlib.ExitStack() as opened:
            _open_blocking(settings, opened).ping()
    except (redis.RedisError, OSError) as error:
        problem = _never(error, prefix)
        if problem is not None:
            raise StartError(f"{settings.redis_place}: {problem}", exit_code=MISUSE) from error


def _following(settings: RedisSettings, options: dict[str, Any]) -> Redis:
    """A client of the master that the sentinels name, wherever that is; asked again at each new connection."""
    bounds = _bounds(settings, Retry)
    of_url = dict[str, Any](parse_url(settings.redis_url))
    for name in ("host", "port", "connection_class"):
        of_url.pop(name, None)
    sentinels = Sentinel(  # type: ignore[no-untyped-call]
        _addresses(settings), sentinel_kwargs={**_sentinel_options(settings), **bounds}
    )
    client: Redis = sentinels.master_for(
        settings.redis_master,
        redis_class=_Following,
        connection_class=_FollowingTlsConnection if settings.redis_uses_tls else _FollowingConnection,
        **{**options, **bounds, **of_url},
    )
    return client


def _sentinel_options(settings: RedisSettings) -> dict[str, Any]:
    """How the sentinels themselves are spoken to."""
    who: dict[str, Any] = {"username": settings.redis_sentinel_username}
    if settings.redis_sentinel_password is not None:
        who["password"] = settings.redis_sentinel_password.get_secret_value()
    return {**who, **({"ssl": True, **_tls_files(settings)} if settings.redis_sentinel_tls else {})}


def _addresses(settings: RedisSettings) -> list[tuple[str, int]]:
    return [address for text in settings.redis_sentinels if (address := sentinel_address(text)) is not None]


def _who(settings: RedisSettings) -> dict[str, Any]:
    who: dict[str, Any] = {}
    if settings.redis_username is not None:
        who["username"] = settings.redis_username
    if settings.redis_password is not None:
        who["password"] = settings.redis_password.get_secret_value()
    return who


def _tls_files(settings: RedisSettings) -> dict[str, Any]:
    files = {
        "ssl_ca_certs": settings.redis_ca_file,
        "ssl_certfile": settings.redis_cert_file,
        "ssl_keyfile": settings.redis_key_file,
    }
    return {name: str(path) for name, path in files.items() if path is not None}


def _bounds(settings: RedisSettings, retry: type[Retry | redis.retry.Retry] = redis.retry.Retry) -> dict[str, Any]:
    """How long a silent peer is waited for, whether an answer is due or not: a cut link sends no reset."""
    return {
        "socket_timeout": settings.redis_timeout_s,
        "socket_connect_timeout": settings.redis_timeout_s,
        "socket_keepalive": True,
        "socket_keepalive_options": keepalive_options(settings.redis_peer_timeout_s),
        "retry": retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    }


class _Following(Redis):
    """A client of a master that sentinels name; it closes the connections to these as well."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        await cast("SentinelConnectionPool", self.connection_pool).sentinel_manager.aclose()


class _ClosedIsAway(AbstractConnection):
    """Under uvloop a connection that Redis has just closed raises RuntimeError when it is written to."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            raise RedisConnectionError(f"Redis closed the connection: {error}") from error


class _Connection(_ClosedIsAway, Connection):
    pass


class _TlsConnection(_ClosedIsAway, SSLConnection):
    pass


class _FollowingConnection(_ClosedIsAway, SentinelManagedConnection):
    pass


class _FollowingTlsConnection(_ClosedIsAway, SentinelManagedSSLConnection):
    pass


_CONNECTIONS = {"redis": _Connection, "rediss": _TlsConnection}


def _open_blocking(settings: RedisSettings, opened: contextlib.ExitStack) -> redis.Redis:
    """As `open_redis`, for one call without an event loop."""
    options = {**_who(settings), **(_tls_files(settings) if settings.redis_uses_tls else {})}
    if settings.redis_sentinels:
        sentinels = _blocking_sentinels(settings, opened)
        parts = redis.connection.parse_url(settings.redis_url)  # type: ignore[no-untyped-call]
        of_url = {**parts, "ssl": settings.redis_uses_tls}
        for name in ("host", "port", "connection_class"):
            of_url.pop(name, None)
        client: redis.Redis = sentinels.master_for(  # type: ignore[no-untyped-call]
            settings.redis_master, **{**options, **_bounds(settings), **of_url}
        )
    else:
        is_socket = urlsplit(settings.redis_url).scheme == "unix"
        client = redis.Redis.from_url(settings.redis_url, **options, **({} if is_socket else _bounds(settings)))
    opened.callback(client.close)
    return client


def _blocking_sentinels(settings: RedisSettings, opened: contextlib.ExitStack) -> redis.Sentinel:
    sentinels = redis.Sentinel(  # type: ignore[no-untyped-call]
        _addresses(settings), sentinel_kwargs={**_sentinel_options(settings), **_bounds(settings)}
    )
    for sentinel in sentinels.sentinels:
        opened.callback(sentinel.close)
    return sentinels


def _check_sentinels(settings: RedisSettings, prefix: str) -> None:
    """Ask each in its turn, until one knows the master.

    Raises:
        StartError: some answer, and none of these knows it; or one refuses us for good.
    """
    answered, named = 0, ", ".join(settings.redis_sentinels)
    with contextlib.ExitStack() as opened:
        for sentinel in _blocking_sentinels(settings, opened).sentinels:
            try:
                if sentinel.sentinel_get_master_addr_by_name(settings.redis_master) is not None:
                    return
                answered += 1
            except (redis.RedisError, OSError) as error:
                problem = _never(error, prefix, "REDIS_SENTINEL_")
                if problem is not None:
                    raise StartError(f"sentinels {named}: {problem}", exit_code=MISUSE) from error
    if answered:
        raise StartError(
            f"{answered} of the sentinels {named} answered, and none knows a master {settings.redis_master!r}: "
            f"set {prefix}REDIS_MASTER to the name in their `sentinel monitor`",
            exit_code=MISUSE,
        )


def _never(error: BaseException, prefix: str, group: str = "REDIS_") -> str | None:
    """What to do about an error that no waiting mends, or None."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message}): set {prefix}REDIS_CA_FILE"
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            return f"TLS failed ({cause.reason}): is it a port with TLS, and does it want a certificate of this side?"
        if isinstance(cause, AuthenticationError | AuthorizationError | NoPermissionError):
            names = f"{prefix}{group}PASSWORD, and {prefix}{group}USERNAME if need be"
            return f"it refuses the password or the user ({cause}): set {names}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

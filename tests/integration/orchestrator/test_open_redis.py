"""What a closed connection looks like to callers, on the event loop that the processes use."""

from __future__ import annotations

import asyncio

import uvloop

from services.orchestrator.queue import open_redis
from services.orchestrator.redis_settings import RedisSettings
from tests.redis_server import RedisServer


def test_a_connection_that_was_closed_is_opened_again(redis_server: RedisServer) -> None:
    async def write_to_a_closed_connection() -> None:
        async with open_redis(RedisSettings(redis_url=redis_server.url)) as redis:
            await redis.ping()
            [connection] = redis.connection_pool._available_connections
            assert connection._writer is not None
            connection._writer.transport.close()
            await asyncio.sleep(0)
            assert await redis.ping(), "another is opened at once"

    uvloop.run(write_to_a_closed_connection())

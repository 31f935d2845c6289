"""A process that builds chunks for another one: `python -m training.data.worker DESCRIPTOR`."""

from __future__ import annotations

import sys
from contextlib import suppress
from multiprocessing.connection import Connection

from platolm.errors import PlatoLMError


def serve(connection: Connection) -> None:
    """Take a job, then chunk after chunk, and send each one's report, or the error that ends it all.

    Returns, and closes its own, when the other end is gone.
    """
    with connection, suppress(EOFError, ConnectionError):
        try:
            builder = connection.recv().builder()
            while True:
                connection.send(builder.build(connection.recv()))
        except ConnectionError:
            raise
        except (PlatoLMError, OSError) as error:
            connection.send(error)
            while True:  # stay until the other end has read it: it may be writing the next chunk
                connection.recv()


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))

"""A processor with a secret: it proves that it has it, and tells all that it may tell."""

import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from processors import FlowProcessor, Parameter, Secret, Spec, Tasks, Variant

logger = logging.getLogger(__name__)


def fails(place: str) -> str:
    """A plug-in with bad manners: its error tells what it knows."""
    raise PermissionError(f"{place[::-1]} is not to be given away")


class Keeping(FlowProcessor):
    """Logs the digest of what it was given, and the :class:`Secret` in every way there is."""

    id = "keeping"
    spec = Spec(
        parameters={
            "api-key": Parameter(str, secret=True, schemes=("reversed",)),
            "fail": Parameter(bool, default=False),
        }
    )

    def __init__(self) -> None:
        self.secret_resolvers = {"reversed": fails}

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        secret = variant.parameter("api-key", Secret)
        digest = hashlib.sha256(secret.reveal().encode()).hexdigest()
        logger.info("has %s %r", secret, variant, extra={"digest": digest, "secret": secret})
        if variant.parameter("fail", bool):
            raise RuntimeError(f"told to fail with {secret} in {variant}")
        yield

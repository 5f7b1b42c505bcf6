"""The token of a user: renewed when it is refused, and not at every denial."""

from __future__ import annotations

import asyncio

from kvconfig.etcd.auth import SUSPECT_EVERY_S, Tokens


class Etcd:
    """Gives out tokens, and counts."""

    def __init__(self) -> None:
        self.given = 0

    async def authenticate(self) -> str:
        await asyncio.sleep(0)
        self.given += 1
        return f"token-{self.given}"


async def test_one_token_serves_all() -> None:
    """However many ask for the first one at once."""
    etcd = Etcd()
    tokens = Tokens("ann", etcd.authenticate)
    asked = await asyncio.gather(*(tokens.metadata() for _ in range(10)))
    assert set(asked) == {(("token", "token-1"),)}
    assert await Tokens("", etcd.authenticate).metadata() == ()
    assert etcd.given == 1


async def test_a_refused_token_is_renewed_once() -> None:
    """Calls that were refused together share the new one; nobody without a user has one."""
    etcd = Etcd()
    tokens = Tokens("ann", etcd.authenticate)
    old = await tokens.metadata()
    assert tokens.refused(old)
    assert tokens.refused(old)
    new = await tokens.metadata()
    assert tokens.refused(old), "it was renewed already: worth trying, and the new one stays"
    assert await tokens.metadata() == new
    assert not tokens.refused(())
    assert etcd.given == 2


async def test_a_denial_is_blamed_on_the_token_now_and_then() -> None:
    """Somebody who lacks rights and tries again and again costs one token a minute."""
    etcd, now = Etcd(), [100.0]
    tokens = Tokens("ann", etcd.authenticate, clock=lambda: now[0])
    assert tokens.denied(await tokens.metadata())
    for _ in range(10):
        assert not tokens.denied(await tokens.metadata())
    now[0] += SUSPECT_EVERY_S
    assert tokens.denied(await tokens.metadata())
    await tokens.metadata()
    assert etcd.given == 3

"""Hands on the futures exchange: what leaves was written down first, and goes through the door.

Used by the executor, the kill switch, the reconciler and the futures feed; each has lanes of its own, so none waits for another. In a dry run this is
where orders end: validated, normalised and shown as they would go on the wire.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from actors.shell import World
from protocol.messages.base import Message, follow
from protocol.messages.control import PersonAnswered
from protocol.messages.futures import (
    CancelOrder,
    EditOrder,
    EntryBlocked,
    InstrumentsSeen,
    PlaceOrder,
    Rehearsed,
    RehearseOrders,
    RequestInstruments,
    RequestSnapshot,
)
from protocol.ports import Command, FeedLost

NAME = "hands"
UNSENT = "dry_run: not sent"


async def send(world: World, wish: Message) -> Sequence[Message]:
    """Carry out one wish, whose intent the shell has made durable; after the door's yes nothing stands before the wire."""
    match wish:
        case RequestSnapshot(urgent=urgent):
            if urgent:
                world.hurry()
            return (await world.futures.snapshot(urgent=urgent),)
        case RequestInstruments():
            return await read_again(world)
        case PlaceOrder() | EditOrder() | CancelOrder():
            admitted = world.door.pass_through(wish, world.clock.now_us(), world.journal.record, world.watch)
            if isinstance(admitted, EntryBlocked):
                return (admitted,)
            if not world.dry_run:
                return await world.futures.send(admitted)
            shown, *rest = unsent(admitted)
            world.journal.record(NAME, shown, ())
            return (shown, *rest)
        case RehearseOrders():
            return (rehearsal(world, wish),)
        case _:
            raise TypeError(f"no hands for {type(wish).__name__}")


async def contract_rules(world: World) -> InstrumentsSeen:
    """The rules of the contracts, and which of them the account has isolated. Raises FeedLost.

    Where the account does not say, the contracts come as unknown: no reason to be without a stream, which exits need.
    """
    seen = await world.futures.instruments()
    try:
        isolated = await world.futures.isolated()
    except FeedLost as error:
        text = f"which contracts the account has isolated could not be read: {error}; what is known of them stands"
        world.alert(NAME, "MARGIN_MODE", "info", text)
        return replace(seen, instruments=tuple(replace(rules, margin_known=False) for rules in seen.instruments))
    told = (replace(rules, isolated_x=isolated.get(rules.symbol)) for rules in seen.instruments)
    return replace(seen, instruments=tuple(told))


async def read_again(world: World) -> Sequence[Message]:
    """The rules of the contracts, read again; nothing but a word to the person when they cannot be."""
    try:
        return (await contract_rules(world),)
    except FeedLost as error:
        text = f"the rules of the contracts could not be read again: {error}; those known stand"
        world.alert(NAME, "INSTR_CHANGED", "warning", text)
        return ()


def payload(command: Command) -> str:
    """A command as it goes on the wire: the call and its form, without nonce and signature."""
    from protocol.kraken.orders import write_command  # its payload models are for who speaks with Kraken

    path, form = write_command(command)
    return f"POST {path} " + "&".join(f"{name}={value}" for name, value in form.items())


def unsent(command: Command) -> Sequence[Message]:
    """In place of sending: what would have gone out; an entry never left."""
    shown = follow(command, Rehearsed, symbol=command.symbol, payload=payload(command))
    if not isinstance(command, PlaceOrder) or command.reduce_only:
        return (shown,)
    blocked = follow(
        command,
        EntryBlocked,
        client_order_id=command.client_order_id,
        symbol=command.symbol,
        reasons=(UNSENT,),
    )
    return shown, blocked


def rehearsal(world: World, wish: RehearseOrders) -> PersonAnswered:
    """What the door says of each order, and how it would go on the wire."""
    judged = [world.door.rehearse(order, world.clock.now_us()) for order in wish.orders]
    refused = [answer.text for answer in judged if isinstance(answer, EntryBlocked)]
    payloads = tuple(payload(answer.order) for answer in judged if not isinstance(answer, EntryBlocked))
    text = f"refused: {'; '.join(refused)}" if refused else "dry run: nothing was sent"
    return follow(wish, PersonAnswered, request=wish.request, done=not refused, text=text, payloads=payloads)

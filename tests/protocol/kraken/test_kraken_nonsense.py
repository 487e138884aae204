"""Whatever is done to a payload, reading it gives a value or a typed error: never another exception, never a guess."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.forced import FORCED_FILLS
from protocol.kraken import batch, futures_rest, futures_ws, orders
from protocol.kraken.wire import MalformedPayload, Refused, decode, encode, parse_iso_us
from protocol.messages.futures import CommandAnswered, OrderSeen, PositionsSeen, TickerSeen
from tests.fakes.kraken_payloads import AT, FILL, ORDER, PLACE, POSITION, answer


@given(st.binary(max_size=40))
def test_bytes_that_are_no_object_are_malformed(data: bytes) -> None:
    """Truncated, binary, HTML: an object or one error."""
    with suppress(MalformedPayload):
        assert isinstance(decode(data, "x"), dict)


def test_one_bad_row_is_set_aside_and_named() -> None:
    """The others are used; the reason says which row and which member."""
    payload: Any = futures_rest.write_open_orders([ORDER, ORDER], AT)
    payload["openOrders"][0]["side"] = "sideways"

    parsed = futures_rest.parse_open_orders(encode(payload))

    assert parsed.values == (ORDER,)
    assert [problem.field for problem in parsed.quarantined] == ["[0].side"]


RESTING: dict[str, Any] = {
    "order_id": "o-1", "cliOrdId": "c-1", "symbol": "PF_XBTUSD", "side": "sell", "orderType": "stop", "limitPrice": 1.0,
    "stopPrice": 59000.0, "unfilledSize": 2, "filledSize": 1, "reduceOnly": True, "triggerSignal": "mark",
}  # fmt: skip
SHOWN: dict[str, Any] = {
    "order_id": "o-1", "cli_ord_id": "c-1", "instrument": "PF_XBTUSD", "direction": 1, "type": "stop", "limit_price": 1.0,
    "stop_price": 59000.0, "qty": 2, "filled": 1, "reduce_only": True, "triggerSignal": "mark",
}  # fmt: skip


def read_resting(row: dict[str, Any]) -> object:
    """The order of `openorders` with this row, or the member at fault."""
    listed = futures_rest.parse_open_orders({"result": "success", "openOrders": [row]})
    return listed.values or [problem.field for problem in listed.quarantined]


def read_shown(row: dict[str, Any]) -> object:
    """The orders of the stream's first frame and of a later one with this row, or the members at fault."""
    rest = {"is_cancel": False, "reason": "new_placed_order_by_user"}
    found = []
    for frame in ({"feed": "open_orders_snapshot", "orders": [row]}, {"feed": "open_orders", "order": row, **rest}):
        told = futures_ws.parse_futures_frame(encode(frame), AT)
        assert isinstance(told, futures_ws.Told)
        found.append(
            [m.order for m in told.messages if isinstance(m, OrderSeen)] or [p.field for p in told.quarantined]
        )
    return found


@pytest.mark.parametrize(("read", "row"), [(read_resting, RESTING), (read_shown, SHOWN)])
def test_null_in_an_order_s_row_is_a_member_that_is_not_there(
    read: Callable[[dict[str, Any]], object], row: dict[str, Any]
) -> None:
    """What may be left out may be null, and one such row must not cost the list; what may not is at fault either way: unknown is never zero."""
    for name in row:
        absent = {member: value for member, value in row.items() if member != name}
        assert read({**row, name: None}) == read(absent), name


def test_of_two_spellings_the_one_that_is_not_null_counts() -> None:
    """Kraken's list of orders knows two names for the client's id and three for the size."""
    row = {**RESTING, "cliOrdId": None, "cli_ord_id": "c-2", "unfilledSize": None, "quantity": 3}
    (order,) = futures_rest.parse_open_orders({"result": "success", "openOrders": [row]}).values
    assert (order.client_order_id, order.size) == ("c-2", 3)


@pytest.mark.parametrize(("member", "read"), [("reason", 1), ("is_cancel", 0)])
def test_null_in_an_order_s_frame_is_a_member_that_is_not_there(member: str, read: int) -> None:
    """Why an order changed may be left out, whether it is open may not."""
    frame = {"feed": "open_orders", "order": SHOWN, "is_cancel": False, "reason": "edited_by_user", member: None}
    told = futures_ws.parse_futures_frame(encode(frame), AT)
    assert isinstance(told, futures_ws.Told)
    assert (len(told.messages), len(told.quarantined)) == (read, 1 - read)


def test_a_fill_type_of_next_year_is_kept() -> None:
    """An enumeration we do not know makes nothing unreadable."""
    payload: Any = futures_rest.write_fills([FILL], AT)
    payload["fills"][0]["fillType"] = "adl"

    assert futures_rest.parse_fills(encode(payload)).values[0].fill_type == "adl"


def test_every_documented_fill_type_that_is_no_order_s_is_forced() -> None:
    """Kraken's list of May 2026: what is not a maker's or a taker's execution is the exchange's own doing."""
    documented = {
        "maker", "taker", "takerAfterEdit", "liquidation", "partialLiquidation", "assignor", "assignee",
        "unwindBankrupt", "unwindCounterparty",
    }  # fmt: skip

    assert documented - set(FORCED_FILLS) == {"maker", "taker", "takerAfterEdit"}


def test_lower_case_symbols_are_one_with_upper_case() -> None:
    """Old payloads carry them."""
    payload: Any = futures_rest.write_open_positions([POSITION], AT)
    payload["openPositions"][0]["symbol"] = "pf_xbtusd"

    assert futures_rest.parse_open_positions(encode(payload)).values[0].symbol == "PF_XBTUSD"


@pytest.mark.parametrize("price", [0, None])
def test_a_row_of_nothing_is_flat_whatever_its_price(price: int | None) -> None:
    """Empty, absent and flat are one: such a row must not cost those beside it. What is held has a price."""
    payload: Any = futures_rest.write_open_positions([POSITION, POSITION], AT)
    payload["openPositions"][0] |= {"size": 0, "price": price}
    listed = futures_rest.parse_open_positions(encode(payload))
    assert [row.size for row in listed.values if row.size] == [POSITION.size]
    assert listed.quarantined == ()
    payload["openPositions"][0]["size"] = 1
    unpriced = futures_rest.parse_open_positions(encode(payload))
    assert [problem.field for problem in unpriced.quarantined] == ["[0].price"]

    row = {"instrument": "PF_ETHUSD", "balance": 0, "entry_price": price}
    frame: Any = {"feed": "open_positions", "account": "a", "seq": 1, "timestamp": 1, "positions": [row]}
    told = futures_ws.parse_futures_frame(encode(frame), AT)
    assert isinstance(told, futures_ws.Told)
    assert [p.size for seen in told.messages if isinstance(seen, PositionsSeen) for p in seen.positions] in ([], [0])
    assert (len(told.messages), told.quarantined) == (1, ())


@pytest.mark.parametrize(("size", "sensible"), [("1E+18", True), ("1E+19", False), (10**25, False), ("-1E+25", False)])
def test_a_size_that_cannot_be_counted_in_lots_is_no_size(size: str | int, sensible: bool) -> None:
    """Decimal arithmetic has 28 digits: whoever rounds such a number to a lot would die of it, each time that it is told."""
    row = {"instrument": "PF_XBTUSD", "balance": Decimal(size), "entry_price": 1}
    frame: Any = {"feed": "open_positions", "account": "a", "seq": 1, "timestamp": 1, "positions": [row]}
    told = futures_ws.parse_futures_frame(encode(frame), AT)
    assert isinstance(told, futures_ws.Told)
    assert (len(told.messages), len(told.quarantined)) == ((1, 0) if sensible else (0, 1))
    for seen in told.messages:
        assert isinstance(seen, PositionsSeen)
        assert seen.positions[0].size % Decimal("1E-9") == 0, "a finer lot than any contract has"


def test_a_bad_execution_does_not_hide_how_the_order_ended() -> None:
    """The status is read, the execution is set aside."""
    payload: Any = answer()
    payload["sendStatus"]["orderEvents"][0]["price"] = None

    parsed = orders.parse_answer(PLACE, encode(payload), AT)

    (done,) = parsed.values
    assert isinstance(done, CommandAnswered)
    assert done.status == "placed"
    assert parsed.quarantined[0].field == "[0].price"


@pytest.mark.parametrize("text", ["2026-01-05", "2026-01-05T00:00:00", "yesterday", None, 5])
def test_a_time_without_zone_is_no_time(text: object) -> None:
    """Local time is never assumed."""
    with pytest.raises(MalformedPayload, match="ISO time with zone"):
        parse_iso_us(text, "x", "time")


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({}, "orderType"),
        ({"orderType": "lmt", "symbol": "PF_XBTUSD", "side": "buy", "size": "1"}, "limitPrice"),
        ({"orderType": "stp", "symbol": "PF_XBTUSD", "side": "buy", "size": "1"}, "stopPrice"),
        ({"orderType": "mkt", "symbol": "PF_XBTUSD", "side": "buy", "size": "0"}, "size"),
        ({"orderType": "iceberg", "symbol": "PF_XBTUSD", "side": "buy", "size": "1"}, "orderType"),
        ({"orderType": "trailing_stop", "symbol": "PF_XBTUSD", "side": "buy", "size": "1"}, "trailingStopMaxDeviation"),
        ({"orderType": "stp", "symbol": "X", "side": "buy", "size": "1", "stopPrice": "1", "triggerSignal": "bid"}, "triggerSignal"),
    ],
)  # fmt: skip
def test_a_bad_form_names_kraken_s_parameter(form: dict[str, str], field: str) -> None:
    """The venue can answer which argument is wrong."""
    with pytest.raises(MalformedPayload) as caught:
        orders.parse_send_order(form, AT)

    assert caught.value.field == field


def test_forms_of_foreign_clients_are_understood() -> None:
    """Python's `True`, lower-case symbols, no client id."""
    form = {"orderType": "mkt", "symbol": "pf_xbtusd", "side": "sell", "size": "0.01", "reduceOnly": "True"}
    command = orders.parse_send_order(form, AT)

    assert (command.symbol, command.reduce_only, command.client_order_id, command.role) == (
        "PF_XBTUSD",
        True,
        "",
        "exit",
    )


def test_a_liquidation_price_below_zero_is_none_and_loses_no_position() -> None:
    """Kraken documents a signed number, and a whole list is lost with one row: a long with more money than it is worth has no such price."""
    position = {"instrument": "PF_XBTUSD", "balance": 0.01, "entry_price": 60000.0, "pnl": 1.0, "pnl_currency": "USD"}
    for threshold in (0.0, -41250.5, None):
        rows = [{**position, "liquidation_threshold": threshold}]
        frame = {"feed": "open_positions", "account": "a", "positions": rows, "seq": 4, "timestamp": 1}
        told = futures_ws.parse_futures_frame(frame, AT)
        assert isinstance(told, futures_ws.Told)
        (seen,) = told.messages
        assert isinstance(seen, PositionsSeen)
        assert (seen.positions[0].size, seen.positions[0].liquidation_price) == (Decimal("0.01"), None)


def test_a_funding_rate_of_zero_is_left_out_and_is_not_unknown() -> None:
    """Kraken documents "if zero, field is not populated"; beside an absolute rate, or without the next time of funding, it is not known."""
    ticker = {
        "feed": "ticker", "product_id": "PF_XBTUSD", "time": 1_767_571_200_000, "bid": 59999.0, "ask": 60001.0, "last": 60000.0,
        "index": 60000.5, "markPrice": 60000.25, "suspended": False, "post_only": False,
    }  # fmt: skip
    cases = (
        ({"next_funding_rate_time": 1_767_574_800_000}, Decimal(0)),
        ({"next_funding_rate_time": 1_767_574_800_000, "relative_funding_rate": -1e-6}, Decimal("-0.000001")),
        ({"next_funding_rate_time": 1_767_574_800_000, "funding_rate": -0.005}, None),
        ({}, None),
        ({"next_funding_rate_time": None}, None),
    )
    for members, rate in cases:
        told = futures_ws.parse_futures_frame(encode({**ticker, **members}), AT)
        assert isinstance(told, futures_ws.Told)
        (seen,) = told.messages
        assert isinstance(seen, TickerSeen)
        assert seen.funding_rate == rate


def test_a_margin_level_says_its_unit_by_the_member_that_is_not_null() -> None:
    """Both limits are documented as nullable: contracts for the inverse, quote units for the linear ones."""
    terms = {"tickSize": 0.5, "contractValueTradePrecision": 0, "maxPositionSize": 1000, "tradeable": True}
    margins = {"initialMargin": 0.02, "maintenanceMargin": 0.01}
    linear = {"contracts": None, "numNonContractUnits": 0, **margins}
    inverse = {"numNonContractUnits": None, "contracts": 500000, **margins}
    neither = {"numNonContractUnits": None, "contracts": None, **margins}
    rows = [
        {"symbol": symbol, "type": kind, **terms, "marginLevels": [level]}
        for symbol, kind, level in (
            ("PF_XBTUSD", "flexible_futures", linear),
            ("PI_XBTUSD", "futures_inverse", inverse),
            ("PF_ETHUSD", "flexible_futures", neither),
        )
    ]
    parsed = futures_rest.parse_instruments(
        {"result": "success", "instruments": rows, "serverTime": "2026-01-01T00:00:00.000Z"}
    )

    assert [instrument.margin_levels[0][0] for instrument in parsed.values] == [0, 500000]
    assert [problem.field for problem in parsed.quarantined] == ["[2].marginLevels"]


def test_a_batch_is_json_and_says_its_booleans_as_such() -> None:
    """Forms know only text; sizes and prices go as text in other clients too, a flag does not."""
    (row,) = json.loads(batch.write_batch([PLACE])[1]["json"])["batchOrder"]

    assert (row["reduceOnly"], row["size"]) == (False, "1")
    (back,) = batch.parse_batch_form(batch.write_batch([PLACE])[1])
    assert back["reduceOnly"] == "false"


def test_an_answer_without_events_is_an_answer() -> None:
    """`orderEvents` is optional in Kraken's reference, and null is how it says that there is nothing."""
    status = {"status": "insufficientAvailableFunds", "receivedTime": "2026-01-01T00:00:00.000Z", "orderEvents": None}
    answer = {"result": "success", "sendStatus": status, "serverTime": "2026-01-01T00:00:00.000Z"}
    (answered,) = orders.parse_answer(PLACE, answer, AT).values

    assert isinstance(answered, CommandAnswered)
    assert (answered.outcome, answered.status) == ("rejected", "insufficientAvailableFunds")


def test_words_of_the_exchange_move_no_cursor() -> None:
    """Whatever it says of an order, a person sees it in printable characters."""
    said = orders.answered(PLACE, AT, "unknown", "placed\x1b[2J\r\n\x00 é")
    refusal = Refused("apiLimitExceeded\x07")

    assert said.status == "placed\\x1b[2J\\r\\n\\x00 é"
    assert str(refusal) == refusal.error == "apiLimitExceeded\\x07"

"""What every payload needs: decoding numbers as decimals, reading times, checking records one by one.

Knows JSON and Kraken's habits, no endpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from protocol.units import SECOND_US

Json = bytes | str | Mapping[str, Any]
"""A payload as it came off the wire, or already decoded."""

T = TypeVar("T")
R = TypeVar("R", bound="Record")

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
EXPONENT_MIN: Final = -30
EXPONENT_MAX: Final = 18
"""No price, size or amount is this many digits away from one. Arithmetic on such a number would not end, or not fit into the 28 digits that a
size in lots has.
"""
WHOLE_LIMIT: Final = 1 << 53

NOT_A_NUMBER: Final = Decimal("NaN")


def _number(text: str) -> Decimal:
    """A JSON number with a point or an exponent; NaN, which no field takes, for a magnitude that arithmetic would not survive."""
    value = Decimal(text)
    return value if sensible(value) else NOT_A_NUMBER


def sensible(value: Decimal) -> bool:
    """Whether arithmetic survives the magnitude of a finite number."""
    return EXPONENT_MIN <= value.adjusted() <= EXPONENT_MAX


_decoder = msgspec.json.Decoder(float_hook=_number)
_encoder = msgspec.json.Encoder(decimal_format="number")


class MalformedPayload(ValueError):
    """The exchange sent what cannot be read: it, or what lies between, is at fault. Nothing was taken from the record."""

    def __init__(self, what: str, field: str, problem: str) -> None:
        super().__init__(f"{what}: {field or 'payload'}: {problem}")
        self.what = what
        self.field = field
        self.problem = problem


class Refused(Exception):
    """The exchange answered and said no to the whole request. `error` is its word, fit to be shown."""

    def __init__(self, error: str) -> None:
        self.error = showable(error)
        super().__init__(self.error)


@dataclass(frozen=True)
class Parsed(Generic[T]):
    """A list read one by one: what could be read, and why each of the others could not. An empty list is an empty list."""

    values: tuple[T, ...]
    quarantined: tuple[MalformedPayload, ...] = ()


def _bounded(value: Decimal) -> Decimal:
    if not sensible(value):
        raise ValueError("not a sensible magnitude")
    return value


def _absent(value: Decimal | None) -> Decimal | None:
    return value or None


Number = Annotated[Decimal, Field(allow_inf_nan=False), AfterValidator(_bounded)]
Positive = Annotated[Number, Field(gt=0)]
NonNegative = Annotated[Number, Field(ge=0)]
OptionalPrice = Annotated[NonNegative | None, AfterValidator(_absent)]
"""A price for which Kraken writes nothing, null or 0.0 when there is none."""
Milliseconds = Annotated[int, Field(ge=0, le=253_402_300_799_999)]
"""An epoch time up to the year 9999."""
Name = Annotated[str, Field(min_length=1)]
Symbol = Annotated[Name, AfterValidator(str.upper)]


class Record(BaseModel):
    """One payload or one row of it. Members that we do not know are left alone: Kraken adds some every month."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Sparse(Record):
    """A record whose null is a member that is not there: which of the two Kraken writes is not documented. An alias choice takes the first
    that is there.
    """

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, value: Any) -> Any:
        return {name: found for name, found in value.items() if found is not None} if isinstance(value, dict) else value


def decode(data: Json, what: str) -> dict[str, Any]:
    """The JSON object in `data`, numbers with a point as Decimal. Raises MalformedPayload."""
    if isinstance(data, Mapping):
        return dict(data)
    try:
        value = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, ArithmeticError, RecursionError) as error:
        raise MalformedPayload(what, "", f"not JSON ({error})") from error
    if not isinstance(value, dict):
        raise MalformedPayload(what, "", f"an object was expected, not {type(value).__name__}")
    return value


def encode(value: object) -> bytes:
    """The JSON bytes of what a `write_*` function made; decimals as JSON numbers."""
    return _encoder.encode(value)


def check(model: type[R], value: object, what: str) -> R:
    """`value` as `model`. Raises MalformedPayload with the path of the first member at fault."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(step) for step in first["loc"])
        raise MalformedPayload(what, path, first["msg"]) from error


def member(payload: Mapping[str, Any], name: str, kind: type[T], what: str) -> T:
    """`payload[name]` of the JSON type `kind`. Raises MalformedPayload: absent is never empty."""
    value = payload.get(name)
    if not isinstance(value, kind):
        raise MalformedPayload(what, name, "missing" if value is None else f"{kind.__name__} expected")
    return value


def whole(payload: Mapping[str, Any], name: str, what: str) -> int:
    """`payload[name]` as an integer that a journal can hold. Raises MalformedPayload."""
    value = member(payload, name, int, what)
    if isinstance(value, bool) or not 0 <= value < WHOLE_LIMIT:
        raise MalformedPayload(what, name, "out of range")
    return value


def one_by_one(rows: Iterable[object], read: Callable[[object], T | None], what: str) -> Parsed[T]:
    """`read` each row; a row that raises MalformedPayload is set aside, one that gives None is not for us."""
    values: list[T] = []
    quarantined: list[MalformedPayload] = []
    for position, row in enumerate(rows):
        try:
            value = read(row)
        except MalformedPayload as problem:
            quarantined.append(MalformedPayload(what, f"[{position}].{problem.field}", problem.problem))
        else:
            if value is not None:
                values.append(value)
    return Parsed(tuple(values), tuple(quarantined))


def parse_iso_us(text: object, what: str, field: str) -> int:
    """An ISO 8601 time of any precision as microseconds UTC (finer digits are cut). Raises MalformedPayload."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise MalformedPayload(what, field, "an ISO time with zone was expected")
    return (moment - EPOCH) // MICROSECOND


def write_iso_us(at: int) -> str:
    """Microseconds UTC as Kraken writes REST times, in microseconds and with Z."""
    second, micros = divmod(at, SECOND_US)
    return f"{_second(second)}.{micros:06d}Z"


@lru_cache(maxsize=256)
def _second(second: int) -> str:
    return (EPOCH + timedelta(seconds=second)).replace(tzinfo=None).isoformat()


def write_iso_ms(at: int) -> str:
    """The same in milliseconds, cut towards the past."""
    return write_iso_us(at)[:-4] + "Z"


def ms_us(milliseconds: int) -> int:
    """Milliseconds as microseconds."""
    return milliseconds * 1000


def us_ms(at: int) -> int:
    """Microseconds as whole milliseconds."""
    return at // 1000


def us_s(at: int) -> int:
    """Microseconds as whole seconds."""
    return at // SECOND_US


def plain(value: Decimal) -> str:
    """A decimal for a form body: never with an exponent."""
    return format(value, "f")


def showable(words: str) -> str:
    """The exchange's words as a person may see them: control characters escaped, so that no word moves a cursor."""
    return words if words.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)


def without_none(**members: object) -> dict[str, object]:
    """The members that have a value: Kraken leaves out what it does not have."""
    return {name: value for name, value in members.items() if value is not None}

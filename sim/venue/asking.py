"""One REST call as the venue's handlers see it: parameters, path and moment. Knows no endpoint and no transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from protocol.kraken.wire import MalformedPayload

Body = dict[str, object]
Form = list[tuple[str, str]]


@dataclass(frozen=True)
class Ask:
    """`form` is query and body in order, `path` what the address names, `at` the moment, `method` in capitals."""

    form: Form
    at: int
    path: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"

    @property
    def names(self) -> dict[str, str]:
        """The parameters; of a repeated one the last."""
        return dict(self.form)

    def get(self, name: str) -> str | None:
        """A parameter, None when it is absent or empty."""
        return self.names.get(name) or None

    def needs(self, name: str) -> str:
        """A parameter that must be there. Raises MalformedPayload."""
        value = self.get(name)
        if value is None:
            raise MalformedPayload("request", name, "missing")
        return value

    def all(self, name: str) -> list[str]:
        """Every value of a repeated parameter, also when it was sent as `name[]` or as one list with commas."""
        values = [value for key, value in self.form if key in (name, f"{name}[]")]
        return [part for value in values for part in value.split(",") if part]

    def whole(self, name: str, default: int | None = None) -> int:
        """A parameter as an integer. Raises MalformedPayload."""
        value = self.get(name)
        if value is None:
            if default is None:
                raise MalformedPayload("request", name, "missing")
            return default
        try:
            return int(value)
        except ValueError:
            raise MalformedPayload("request", name, "an integer was expected") from None

    def number(self, name: str) -> Decimal | None:
        """A parameter as a number, None when it is absent. Raises MalformedPayload."""
        value = self.get(name)
        try:
            number = None if value is None else Decimal(value)
        except InvalidOperation:
            raise MalformedPayload("request", name, "a number was expected") from None
        if number is not None and not number.is_finite():
            raise MalformedPayload("request", name, "a number was expected")
        return number

    def symbol(self, known: Mapping[str, object]) -> str | None:
        """The contract of `symbol`, in capitals; None when it is not given. Raises MalformedPayload for an unknown one."""
        value = self.path.get("symbol") or self.get("symbol")
        if value is None:
            return None
        if value.upper() not in known:
            raise MalformedPayload("request", "symbol", "unknown")
        return value.upper()


Call = Callable[[Ask], Body]

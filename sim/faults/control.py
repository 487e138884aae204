"""Faults switched by hand: `/control/faults` beside a venue's own addresses, for whoever runs it on this machine.

POST a plan (YAML or JSON, as in a plan file) and its faults begin, counted from now; GET tells what is in force and what has struck;
DELETE ends them all. It lies before the network's edge: no fault strikes it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sim.faults.network import App
from sim.faults.plan import PLAN_BYTES_MOST, BadPlan, plan_of
from sim.faults.timeline import Faults

PATH = "/control/faults"


def with_control(app: App, faults: Faults) -> App:
    """The application with the switch beside it."""

    async def show(_request: Request) -> Response:
        return JSONResponse(_shown(faults))

    async def add(request: Request) -> Response:
        body = await request.body()
        try:
            if len(body) > PLAN_BYTES_MOST:
                raise BadPlan(f"a plan is smaller than {PLAN_BYTES_MOST} bytes")
            plan = plan_of(yaml.safe_load(body))
        except (BadPlan, yaml.YAMLError, UnicodeDecodeError) as problem:
            return JSONResponse({"error": " ".join(str(problem).split())}, 400)
        for fault in plan.faults:
            faults.add(fault)
        return JSONResponse(_shown(faults))

    async def clear(_request: Request) -> Response:
        faults.clear()
        return JSONResponse(_shown(faults))

    switch = Starlette(
        routes=[
            Route(PATH, show, methods=["GET"]),
            Route(PATH, add, methods=["POST"]),
            Route(PATH, clear, methods=["DELETE"]),
        ]
    )

    async def either(scope: Any, receive: Any, send: Any) -> None:
        here = scope["type"] == "http" and scope["path"] == PATH
        await (switch if here else app)(scope, receive, send)

    return either


def _shown(faults: Faults) -> dict[str, Any]:
    return {
        "active": [msgspec.to_builtins(active.fault) for active in faults.in_force()],
        "waiting": [msgspec.to_builtins(fault) for fault in faults.waiting()],
        "struck": dict(sorted(faults.injected.items())),
    }

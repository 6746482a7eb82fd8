"""What Alertmanager tells the guard: the alerts that fire now, in memory, for the status page and whoever asks.

`POST /v1/alerts` takes Alertmanager's webhook (version 4 of its format), `GET /v1/alerts` lists what fires. Nothing is
stored: Alertmanager says everything that still fires again every few minutes.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PATH: Final = "/v1/alerts"
BODY_BYTES_MAX: Final = 1 << 20
ALERTS_MAX: Final = 1_000
"""Alerts that are kept; what fires beyond them is not listed."""


class Alert(Struct, frozen=True, kw_only=True):
    """One alert, under Alertmanager's names."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: Annotated[str, Meta(description="RFC 3339.")] = msgspec.field(name="startsAt")
    fingerprint: str


class Notification(Struct, frozen=True, kw_only=True):
    """What Alertmanager posts: the alerts of one group."""

    version: Literal["4"]
    alerts: list[Alert]


decode_notification: Final = msgspec.json.Decoder(Notification).decode


class FiringAlerts:
    """The alerts that fire now."""

    def __init__(self) -> None:
        """Begin with none."""
        self._alerts: dict[str, Alert] = {}

    def take(self, notification: Notification) -> None:
        """Take in what Alertmanager says.

        >>> firing = FiringAlerts()
        >>> alert = Alert(status="firing", labels={"alertname": "CloutWatchdog"}, starts_at="", fingerprint="1")
        >>> firing.take(Notification(version="4", alerts=[alert]))
        >>> [alert.labels for alert in firing.now()]
        [{'alertname': 'CloutWatchdog'}]
        >>> firing.take(Notification(version="4", alerts=[msgspec.structs.replace(alert, status="resolved")]))
        >>> firing.now()
        []
        """
        for alert in notification.alerts:
            if alert.status == "resolved":
                self._alerts.pop(alert.fingerprint, None)
            elif alert.fingerprint in self._alerts or len(self._alerts) < ALERTS_MAX:
                self._alerts[alert.fingerprint] = alert

    def now(self) -> list[Alert]:
        """Return what fires, the longest first."""
        return sorted(self._alerts.values(), key=lambda alert: (alert.starts_at, alert.fingerprint))


def alert_routes(firing: FiringAlerts) -> list[Route]:
    """Return the routes that fill `firing` and show it."""

    async def take(request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > BODY_BYTES_MAX:
                return JSONResponse({"error": f"more than {BODY_BYTES_MAX} bytes"}, status_code=413)
        try:
            notification = decode_notification(bytes(body))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return JSONResponse({"error": f"not a notification of Alertmanager: {error}"}, status_code=400)
        firing.take(notification)
        return Response(status_code=204)

    async def show(_: Request) -> Response:
        return Response(msgspec.json.encode({"alerts": firing.now()}), media_type="application/json")

    return [Route(PATH, take, methods=["POST"]), Route(PATH, show, methods=["GET"])]

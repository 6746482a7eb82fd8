"""What partners are told of incidents: the body of a webhook's delivery, its headers, and how it is signed.

Headers and signature are those of the Standard Webhooks convention, version 1.0.0, so its libraries can check them. A
delivery's id stays the same however often it is tried; a receiver drops one that it has taken before.

    POST, application/json
    webhook-id         the delivery's id
    webhook-timestamp  when this attempt was made, in whole seconds since 1970
    webhook-signature  v1,BASE64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`

No user is named: how many an incident touches is in the record, who they are on `incidents.users.v1`.
"""

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from schemas.change import Headers
from schemas.dead_letter import Header
from schemas.incident import FindingTold, Incident, IncidentFacts
from schemas.interaction import TimeText
from schemas.limits import DETAIL_LENGTH_MAX

DeliveryType = Literal["incident.opened", "incident.updated", "incident.resolved"]

Undelivered = Literal["gone", "attempts_exhausted", "queue_full", "stopped"]

UNDELIVERED: Final[dict[Undelivered, str]] = {
    "gone": "The receiver answered 410: it wants no more.",
    "attempts_exhausted": "No attempt was answered with success.",
    "queue_full": "Too many deliveries were waiting already.",
    "stopped": "The guard stopped before it was delivered.",
}
"""Every reason that a delivery can have to be set aside, and what it means."""

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what secrets begin with, no secret
"""Begins a secret that is written in Base64, as the convention wants it; any other is taken as it stands."""
_ID_BYTES: Final = 16


class IncidentTold(IncidentFacts, frozen=True, kw_only=True):
    """An incident as it stands, without the users whom it touches."""

    evidence: list[FindingTold]


class WebhookDelivery(Struct, frozen=True, kw_only=True):
    """The body of a delivery."""

    type: DeliveryType
    incident: IncidentTold
    sent: Annotated[TimeText, Meta(description="When it was first to be sent; later attempts say the same.")]


class UndeliveredHeaders(Struct, frozen=True, kw_only=True):
    """Why a delivery was set aside: headers of a record of `webhooks.dlq.v1`, as text; its value is the body."""

    webhook: Annotated[str, Meta(description="Name of the webhook.")]
    id: Annotated[str, Meta(description="The delivery's id.")]
    reason: Undelivered
    detail: Annotated[str, Meta(description="What came of the last attempt.")]
    attempts: Annotated[int, Meta(ge=0, description="How often it was tried.")]


_FINDING_FIELDS: Final = FindingTold.__struct_fields__
_INCIDENT_FIELDS: Final = IncidentFacts.__struct_fields__

encode_delivery: Final = msgspec.json.Encoder().encode
"""Write a delivery's body."""

decode_delivery: Final = msgspec.json.Decoder(WebhookDelivery).decode
"""Read a delivery's body; a msgspec.DecodeError says what is wrong."""


def told(incident: Incident) -> IncidentTold:
    """Return what partners are told of an incident: all but who is touched."""
    evidence = [FindingTold(**{name: getattr(found, name) for name in _FINDING_FIELDS}) for found in incident.evidence]
    return IncidentTold(evidence=evidence, **{name: getattr(incident, name) for name in _INCIDENT_FIELDS})


def delivery_id(incident: Incident) -> str:
    """Return the id of the delivery that tells an incident as it stands: the same whoever makes it, and whenever."""
    named = f"{incident.id}\n{incident.updated}\n{incident.severity}\n{incident.status}"
    return f"inc_{hashlib.blake2b(named.encode(), digest_size=_ID_BYTES).hexdigest()}"


def secret_bytes(secret: str) -> bytes:
    """Return what a configured secret signs with; a ValueError if it begins with `whsec_` and is no Base64.

    >>> secret_bytes("whsec_Y2xvdXQ="), secret_bytes("an open secret")
    (b'clout', b'an open secret')
    """
    if not secret.startswith(SECRET_PREFIX):
        return secret.encode()
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)


def delivery_headers(id_: str, timestamp_s: int, body: bytes, secret: bytes) -> dict[str, str]:
    """Return the headers of an attempt to deliver a body.

    >>> delivery_headers("inc_1", 1_340_000_000, b"{}", b"an open secret")["webhook-signature"]
    'v1,mL/JHyCn6SDl3cC1ihQqYgRMdj6APklafNfjExndhsU='
    """
    signed = b".".join((id_.encode(), b"%d" % timestamp_s, body))
    signature = base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
    return {
        "content-type": "application/json",
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": f"v1,{signature}",
    }


def encode_undelivered(headers: UndeliveredHeaders) -> Headers:
    """Write the headers of a delivery that was set aside.

    >>> encode_undelivered(UndeliveredHeaders(webhook="acme", id="1", reason="gone", detail="", attempts=2))[-1]
    ('attempts', b'2')
    """
    return [
        ("webhook", headers.webhook.encode()),
        ("id", headers.id.encode()),
        ("reason", headers.reason.encode()),
        ("detail", headers.detail[:DETAIL_LENGTH_MAX].encode(errors="replace")),
        ("attempts", b"%d" % headers.attempts),
    ]


def decode_undelivered(headers: Iterable[Header]) -> UndeliveredHeaders:
    """Read the headers of a delivery that was set aside; a ValueError if they are not such.

    >>> headers = UndeliveredHeaders(webhook="acme", id="1", reason="gone", detail="410", attempts=2)
    >>> decode_undelivered(encode_undelivered(headers)) == headers
    True
    """
    found = {name: value.decode() for name, value in headers if isinstance(value, bytes)}
    return msgspec.convert(found, UndeliveredHeaders, strict=False)


def address_error(url: str) -> str | None:
    """Return why a webhook cannot have an address; None if it can.

    >>> address_error("https://partner.example/incidents"), address_error("http://127.0.0.1:8080/")
    (None, None)
    >>> address_error("http://partner.example/incidents")
    'It must begin with https://; http:// is for loopback addresses alone'
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return str(error)
    if not host or parts.scheme not in {"https", "http"} or not url.isascii() or not url.isprintable() or " " in url:
        return "It must be an address that begins with https://"
    if parts.username is not None or parts.fragment:
        return "It must have neither a user's name nor a fragment"
    if parts.scheme == "http" and not is_loopback(host):
        return "It must begin with https://; http:// is for loopback addresses alone"
    return None


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("localhost.example")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

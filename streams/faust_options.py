"""From Kafka settings to the options of a Faust app, in this one place.

Settings carry security properties under librdkafka's names; Faust's driver wants URLs and credential objects. It
stands apart from `clients` because commands that need no Faust start faster without it.
"""

import ssl
from typing import Any, Final

from faust.auth import Credentials, SASLCredentials, SSLCredentials

from streams.errors import CloutError
from streams.settings import KafkaSettings

_SASL_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_TRANSLATED: Final = frozenset(
    {
        "enable.ssl.certificate.verification",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.password",
        "sasl.username",
        "security.protocol",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.endpoint.identification.algorithm",
        "ssl.key.location",
        "ssl.key.password",
    }
)


def faust_broker_options(kafka: KafkaSettings) -> dict[str, Any]:
    """The arguments `broker` and `broker_credentials` of a Faust app.

    >>> faust_broker_options(KafkaSettings(broker="a:9092,b:9092"))
    {'broker': 'kafka://a:9092;kafka://b:9092', 'broker_credentials': None}
    """
    addresses = [address.strip() for address in kafka.broker.split(",") if address.strip()]
    return {
        "broker": ";".join(f"kafka://{address}" for address in addresses),
        "broker_credentials": _credentials(kafka.options),
    }


def _credentials(options: dict[str, str]) -> Credentials | None:
    unknown = sorted(options.keys() - _TRANSLATED)
    if unknown:
        raise CloutError(
            f"the Kafka option {unknown[0]} cannot be passed to both Kafka clients",
            hint=f"use only {', '.join(sorted(_TRANSLATED))}",
        )
    protocol = options.get("security.protocol", "plaintext").lower()
    context = _ssl_context(options) if protocol in {"ssl", "sasl_ssl"} else None
    if protocol == "ssl":
        return SSLCredentials(context)
    if protocol in {"sasl_plaintext", "sasl_ssl"}:
        mechanism = options.get("sasl.mechanism", options.get("sasl.mechanisms", ""))
        if mechanism not in _SASL_MECHANISMS:
            raise CloutError(
                f"the SASL mechanism {mechanism!r} is not supported",
                hint=f"set sasl.mechanism to one of {', '.join(_SASL_MECHANISMS)}",
            )
        return SASLCredentials(
            username=options.get("sasl.username"),
            password=options.get("sasl.password"),
            ssl_context=context,
            mechanism=mechanism,
        )
    return None


def _ssl_context(options: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("ssl.ca.location"))
        if "ssl.certificate.location" in options:
            context.load_cert_chain(
                options["ssl.certificate.location"],
                options.get("ssl.key.location"),
                options.get("ssl.key.password"),
            )
    except OSError as error:
        files = {name: value for name, value in options.items() if name.endswith(".location")}
        raise CloutError("a TLS file cannot be used", detail=f"{error} ({files})", hint="correct its path") from error
    if options.get("ssl.endpoint.identification.algorithm", "https").lower() == "none":
        context.check_hostname = False
    if options.get("enable.ssl.certificate.verification", "true").lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

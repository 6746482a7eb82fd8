import ssl
from pathlib import Path

import pytest
from faust.auth import SASLCredentials, SSLCredentials

from streams.errors import CloutError
from streams.faust_options import faust_broker_options
from streams.settings import KafkaSettings


def credentials(**options: str) -> object:
    return faust_broker_options(KafkaSettings(broker="a:9092", options=options))["broker_credentials"]


def test_plain_text_needs_no_credentials() -> None:
    assert credentials(**{"security.protocol": "PLAINTEXT"}) is None


def test_tls_checks_certificate_and_host() -> None:
    found = credentials(**{"security.protocol": "SSL"})
    assert isinstance(found, SSLCredentials)
    assert (found.context.verify_mode, found.context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_the_host_check_can_be_turned_off_as_for_the_other_client() -> None:
    found = credentials(**{"security.protocol": "ssl", "ssl.endpoint.identification.algorithm": "none"})
    assert isinstance(found, SSLCredentials)
    assert (found.context.verify_mode, found.context.check_hostname) == (ssl.CERT_REQUIRED, False)


@pytest.mark.parametrize(("protocol", "encrypted"), [("SASL_PLAINTEXT", False), ("SASL_SSL", True)])
def test_sasl_carries_user_and_mechanism(protocol: str, encrypted: bool) -> None:
    found = credentials(
        **{
            "security.protocol": protocol,
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "u",
            "sasl.password": "p",
        }
    )
    assert isinstance(found, SASLCredentials)
    assert (found.username, found.password, found.mechanism.value) == ("u", "p", "SCRAM-SHA-512")
    assert (found.ssl_context is not None) == encrypted


def test_an_option_that_only_one_client_understands_is_an_error() -> None:
    with pytest.raises(CloutError, match=r"ssl\.curves\.list"):
        credentials(**{"ssl.curves.list": "P-256"})


def test_a_mechanism_that_is_not_supported_is_an_error() -> None:
    with pytest.raises(CloutError, match="GSSAPI"):
        credentials(**{"security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI"})


def test_a_missing_certificate_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.pem")
    with pytest.raises(CloutError) as caught:
        credentials(**{"security.protocol": "SSL", "ssl.ca.location": absent})
    assert absent in caught.value.detail

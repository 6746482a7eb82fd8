"""What of the user's settings a demonstration keeps."""

import stat
from pathlib import Path

from clout.config import Settings, load
from clout.demo.course import _settings, _supervisor
from schemas.access import SCOPES
from streams.settings import GatewaySettings, GuardSettings, KafkaSettings, WebhookSettings

SIGNED_WITH = 'sixteen "characters" at least'
PARTNER = WebhookSettings(url="http://127.0.0.1:9/hook", secret=SIGNED_WITH)


def test_partners_are_told_of_a_demonstration_too_and_their_secrets_are_for_nobody_else_to_read(tmp_path: Path) -> None:
    own = Settings(guard=GuardSettings(canaries=0, webhooks={"partner": PARTNER}))
    settings = _settings(own, tmp_path, KafkaSettings(broker="127.0.0.1:1"))
    _supervisor(tmp_path, settings, gateways=1)
    file = tmp_path / "clout.toml"
    assert load({}, file).settings.guard == settings.guard
    assert settings.guard.webhooks == {"partner": PARTNER}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_demonstration_needs_no_key_and_is_for_this_machine_alone(tmp_path: Path) -> None:
    own = Settings(gateway=GatewaySettings(host="0.0.0.0", port=8123))  # noqa: S104 - what is not kept
    settings = _settings(own, tmp_path, KafkaSettings(broker="127.0.0.1:1"))
    _supervisor(tmp_path, settings, gateways=1)
    assert settings.gateway == GatewaySettings(port=8123, anonymous_scopes=SCOPES)
    assert load({}, tmp_path / "clout.toml").settings.gateway.anonymous_scopes == SCOPES

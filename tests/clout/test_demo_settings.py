"""What of the user's settings a demonstration keeps."""

import stat
from pathlib import Path

from clout.config import Settings, load
from clout.demo.course import _settings, _supervisor
from streams.settings import GuardSettings, KafkaSettings, WebhookSettings

SIGNED_WITH = 'sixteen "characters" at least'
PARTNER = WebhookSettings(url="http://127.0.0.1:9/hook", secret=SIGNED_WITH)


def test_partners_are_told_of_a_demonstration_too_and_their_secrets_are_for_nobody_else_to_read(tmp_path: Path) -> None:
    own = Settings(guard=GuardSettings(canaries=0, webhooks={"partner": PARTNER}))
    settings = _settings(own, tmp_path, KafkaSettings(broker="127.0.0.1:1"))
    _supervisor(tmp_path, settings)
    file = tmp_path / "clout.toml"
    assert load({}, file).settings.guard == settings.guard
    assert settings.guard.webhooks == {"partner": PARTNER}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

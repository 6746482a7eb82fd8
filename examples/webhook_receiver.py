"""Receives what Clout tells of incidents: checks the signature, drops repeats, prints a line an incident.

    WEBHOOK_SECRET=… python examples/webhook_receiver.py 8080

Standard library alone. Instead of `is_genuine` any library of the Standard Webhooks convention can be used.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

AGE_SECONDS_MAX = 300
BODY_BYTES_MAX = 1 << 20


def secret_bytes(secret: str) -> bytes:
    """Return the key: Base64 after `whsec_`, any other text as it stands."""
    return base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()


def is_genuine(headers: Message, body: bytes, secret: bytes, now: float) -> bool:
    """Return whether a delivery comes from who knows the secret, and was sent just now."""
    id_, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(now - int(timestamp)) > AGE_SECONDS_MAX:
        return False
    digest = hmac.digest(secret, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256)
    right = b"v1," + base64.b64encode(digest)
    signatures = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(signature, right) for signature in signatures)


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what it has taken, and only then; Clout sends again what is answered otherwise, or not at all."""

    secret = secret_bytes(os.environ.get("WEBHOOK_SECRET", ""))
    taken: dict[str, None] = {}  # noqa: RUF012 - shared by all requests; keep it where a restart does not lose it

    def do_POST(self) -> None:
        """Take a delivery."""
        length = int(self.headers.get("content-length", 0))
        if length > BODY_BYTES_MAX:
            self.answer(413)
            return
        body = self.rfile.read(length)
        if not is_genuine(self.headers, body, self.secret, time.time()):
            self.answer(401)
            return
        if (id_ := self.headers["webhook-id"]) not in self.taken:
            told = json.loads(body)
            incident = told["incident"]
            print(told["type"], incident["id"], incident["severity"], incident["status"], incident["title"], flush=True)
            self.taken[id_] = None
        self.answer(204)

    def answer(self, status: int) -> None:
        """Send a status, and nothing else."""
        self.send_response(status)
        self.end_headers()


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(f"listening on http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()

"""A mail server on loopback: prints its port, then each mail as a line of JSON, parsed by Python's reader of mails."""

import asyncio
import email
import email.policy
import json
import logging
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult


def say(value):
    print(json.dumps(value), flush=True)


class Inbox:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user"
        if address.startswith("full@"):
            return "452 4.2.2 mailbox full"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in mail.walk() if not part.is_multipart()}
        defects = [str(defect) for part in mail.walk() for defect in part.defects]
        say({"headers": {name: str(value) for name, value in mail.items()}, "parts": parts,
             "to": envelope.rcpt_tos, "defects": defects})
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    known = (data.login, data.password) == (b"me", b"s3cret-password")
    return AuthResult(success=known, handled=known)


async def main():
    # It is asked for a password without TLS on purpose.
    warnings.simplefilter("ignore")
    logging.disable()
    options = {"hostname": "localhost", "authenticator": authenticate, "auth_require_tls": False,
               "auth_required": "--auth" in sys.argv}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Inbox(), **options), "127.0.0.1", 0)
    say({"port": server.sockets[0].getsockname()[1]})
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())

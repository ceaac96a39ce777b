# SPDX-License-Identifier: Apache-2.0
"""Notices as mails: through a server, or a command that takes a mail on its input.

Invariants:
1. A mail has one recipient, the subscription's; no text of a user becomes a header line of its own.
2. What the server says for good (5yz) is not tried again; everything else is.
"""

import asyncio
import shlex
import smtplib
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import urlsplit

from transom.errors import ConfigError
from transom.queue.config import QueueConfig
from transom.queue.deliveries.parcel import Parcel
from transom.queue.logic import delivery, notification
from transom.queue.logic.delivery import Outcome
from transom.queue.logic.subscriptions import FROM, SUBJECT

AT_ONCE = 8
"""Mails that are handed over at a time; the server's own queue does the rest."""
SECURE, UPGRADED = "smtps", "smtp+starttls"
PORTS = {"smtp": 25, UPGRADED: 587, SECURE: 465}
PERMANENT = 500
CONFIRM_TEXT = """\
{told}

To confirm, open this address:

{link}

It holds until {until} (UTC). Who did not ask for this need not do anything.
"""


@dataclass(frozen=True, slots=True)
class MailServer:
    scheme: str
    host: str
    port: int


def mail_server(url: str) -> MailServer | None:
    """None if there is no URL. Raises: ConfigError."""
    if not url:
        return None
    scheme, host, port = "", None, None
    with suppress(ValueError):  # of a port, or an address in brackets, that is none
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    if scheme not in PORTS or not host:
        raise ConfigError(
            f"[queue] smtp_url is {url!r}; it is one of "
            + ", ".join(f"{known}://host:{usual}" for known, usual in PORTS.items())
        )
    return MailServer(scheme, host, port or PORTS[scheme])


class MailCarrier:
    """Carries to mailto. Raises from its making: ConfigError."""

    def __init__(self, config: QueueConfig) -> None:
        self._server = mail_server(config.smtp_url)
        self._command = shlex.split(config.mail_command)
        self._config = config
        self._threads: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="mail")
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def stop(self) -> None:
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    async def carry(self, parcel: Parcel) -> Outcome:
        if self._threads is None:
            return delivery.failed("The server is stopping.")
        if not self._command and self._server is None:
            return delivery.refused(
                "This server sends no mail: [queue] smtp_url and mail_command are not set."
            )
        try:
            mail = self._mail(parcel)
            _check_head(mail)
        except (ValueError, IndexError, MessageError) as error:
            return delivery.refused(f"The mail cannot be written: {error}")
        async with self._slots:
            if self._command:
                return await self._run(mail)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._send, mail)

    def _mail(self, parcel: Parcel) -> EmailMessage:
        """Raises: ValueError, IndexError, MessageError for texts that cannot be in one."""
        where, options = parcel.destination, parcel.options
        mail = EmailMessage()
        mail["To"] = Address(addr_spec=where.address)
        mail["From"] = options.get(FROM) or self._config.mail_from
        mail["Date"] = formatdate(usegmt=True)
        mail["Message-ID"] = make_msgid(domain="transom.invalid")
        mail["Auto-Submitted"] = "auto-generated"
        for name, value in parcel.marks.items():
            mail[name] = value
        document = parcel.document
        if document is None:
            mail["Subject"] = where.subject or options.get(SUBJECT, "")
            mail.set_content(parcel.content.decode())
            return mail
        link = notification.confirmation_link(self._config.confirmation_url, document)
        mail["Subject"] = f"Subscription to the queue {document['queue_name']}"
        until = document["URL-Expires"]
        mail.set_content(CONFIRM_TEXT.format(told=document["Message"], link=link, until=until))
        return mail

    def _send(self, mail: EmailMessage) -> Outcome:
        """In a thread."""
        server, timeout_s = self._server, self._config.webhook_timeout_s
        assert server is not None  # else nothing is sent
        user, password = self._config.smtp_username, self._config.smtp_password
        try:
            context = ssl.create_default_context()
            if server.scheme == SECURE:
                client: smtplib.SMTP = smtplib.SMTP_SSL(
                    server.host, server.port, timeout=timeout_s, context=context
                )
            else:
                client = smtplib.SMTP(server.host, server.port, timeout=timeout_s)
            with closing(client):
                if server.scheme == UPGRADED:
                    client.starttls(context=context)
                if user:
                    client.login(user, password.reveal())
                client.send_message(mail)
                with suppress(smtplib.SMTPException, OSError):  # whatever it says, it has the mail
                    client.quit()
        except smtplib.SMTPRecipientsRefused as error:
            return _told(max(code for code, _ in error.recipients.values()))
        except smtplib.SMTPAuthenticationError:
            return delivery.failed("The mail server does not take our user and password.")
        except smtplib.SMTPResponseException as error:
            return _told(error.smtp_code)
        except (smtplib.SMTPException, OSError) as error:
            return delivery.failed(f"The mail server cannot be reached ({type(error).__name__}).")
        return delivery.DELIVERED

    async def _run(self, mail: EmailMessage) -> Outcome:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            return delivery.failed(f"The mail command cannot be run: {error.strerror}.")
        try:
            async with asyncio.timeout(self._config.webhook_timeout_s):
                await process.communicate(mail.as_bytes())
        except TimeoutError:
            return delivery.failed("The mail command did not end in time.")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            return delivery.failed(f"The mail command ended with {process.returncode}.")
        return delivery.DELIVERED


def _check_head(mail: EmailMessage) -> None:
    """What is written is read again: the header lines that it has are those that we gave it.

    Raises: ValueError, MessageError.
    """
    for form in (policy.SMTP, policy.SMTPUTF8):
        written = message_from_bytes(mail.as_bytes(policy=form), policy=policy.compat32)
        if written.keys() != mail.keys() or written.defects:
            raise ValueError("its subject or sender has lines in disguise")


def _told(code: int) -> Outcome:
    text = f"The mail server answered {code}."
    return delivery.refused(text) if code >= PERMANENT else delivery.failed(text)

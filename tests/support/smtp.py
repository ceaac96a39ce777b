"""A mail server in a page: takes what it is told to take, and keeps it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class MailServer:
    """`answer`: what a recipient is answered; "250 ok" takes the mail. `farewell`: to QUIT."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    answer: Callable[[str], str] = lambda recipient: "250 ok"
    farewell: str = "221 bye"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode().strip():
            word = line.partition(" ")[0].upper()
            if word == "DATA":
                writer.write(b"354 go on\r\n")
                text = await reader.readuntil(b"\r\n.\r\n")
                self.mails.append(message_from_bytes(text[:-5], policy=policy.default))  # type: ignore[arg-type]
                writer.write(b"250 kept\r\n")
            elif word == "RCPT":
                recipient = line.partition(":")[2].strip("<> ")
                self.recipients.append(recipient)
                writer.write(self.answer(recipient).encode() + b"\r\n")
            else:
                said = self.farewell if word == "QUIT" else "250 ok"
                writer.write(said.encode() + b"\r\n")
                if word == "QUIT":
                    break
        writer.close()


@asynccontextmanager
async def mail_server() -> AsyncIterator[MailServer]:
    """On a free loopback port."""
    made = MailServer()
    server = await asyncio.start_server(made.talk, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made

"""A small endpoint that speaks OpenAI's protocol, run as a process of its own on the loopback address.

Tests tell it what to answer: replies are taken from a queue, and the default reply follows when it is empty.
A reply is a dictionary; all of its entries may be left out.

    text        the completion's text
    digest      begin the text with a digest of the messages, and end it with a verdict that follows from the digest
    message     entries that replace those of the message
    finish      finish_reason
    logprobs    the choice's logprobs.content, sent only where log-probabilities are asked for
    usage       (prompt tokens, completion tokens), or None for no usage
    json        the whole body instead, as JSON
    raw         the whole body instead, as text that is not called JSON
    status      HTTP status
    headers     more headers
    delay       seconds before it is sent
    hang_up     close the connection instead
    hang        send nothing, and leave the connection open
    cut         send so many bytes of the body, whose whole length was announced, and close the connection
    reset       the same, and reset it
    drip        seconds between the bytes of the body
    decided     a verdict that follows from the request, as the text
    refuse      [words, body]: if any of the words is a key of the request, this body as a 400 instead
    by_words    [[words, reply], ...]: the first reply whose words stand in the last message, instead

An endpoint with a capacity answers 429 while more requests are open; one with faults takes a share of its replies from
among them, by chance.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import socket
import struct
import subprocess
import sys
import urllib.request
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Endpoint:
    """The test's side: an endpoint that runs."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.base_url = f"{self.address}/v1"

    def _ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            urllib.request.Request(f"{self.address}{path}", data=data), timeout=10
        ) as reply:
            return json.load(reply)

    def answer(
        self,
        *replies: dict[str, Any],
        then: dict[str, Any] | None = None,
        capacity: int | None = None,
        full: dict[str, Any] | None = None,
        faults: Sequence[dict[str, Any]] = (),
        share: float = 0.0,
    ) -> None:
        """Forget what was asked so far; answer with ``replies`` in order, and with ``then`` after them.

        With a capacity, answer with a 429, or with ``full``, while more requests than that are open.  With faults,
        let this share of all other replies be one of them.
        """
        said = {"replies": replies, "then": then or {}, "capacity": capacity, "faults": faults, "share": share}
        self._ask("/script", {**said, "full": full or {"status": 429, "json": {"error": {"message": "full"}}}})

    def requests(self) -> list[dict[str, Any]]:
        """What was asked: ``{"path", "headers", "body", "served", "fault"}``.

        ``served``: whether a whole completion was sent; ``fault``: the place of the fault that was played, or None.
        """
        return self._ask("/requests")

    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of what was asked."""
        return [request["body"] for request in self.requests()]

    def most_in_flight(self) -> int:
        """Most requests that were open at the same time."""
        return self._ask("/most_in_flight")


@contextmanager
def running() -> Iterator[Endpoint]:
    """An endpoint in a process of its own, on a free port."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Endpoint(int(process.stdout.readline()))
        finally:
            process.terminate()


# ---- the server's side --------------------------------------------------------------------------


def digest_of(asked: dict[str, Any]) -> str:
    """A name of the messages that a completion was asked for."""
    return hashlib.sha256(json.dumps(asked["messages"]).encode()).hexdigest()[:16]


_queue: deque[dict[str, Any]] = deque()
_state: dict[str, Any] = {"then": {}, "requests": [], "open": set(), "most": 0, "capacity": None, "faults": []}
_chance = random.Random(0)


def _completion(reply: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    text = reply.get("text", "Hello.")
    if reply.get("digest"):
        text = f"{digest_of(asked)}\nAnswer: {'AB'[int(digest_of(asked)[0], 16) % 2]}\nConfidence: 80%"
    if reply.get("decided"):
        drawn = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()
        text = f"Answer: {'AB'[drawn[0] % 2]}\nConfidence: {50 + drawn[1] % 50}%"
    message = {"role": "assistant", "content": text, **reply.get("message", {})}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": reply.get("finish", "stop")}
    if asked.get("logprobs") and "logprobs" in reply:
        choice["logprobs"] = {"content": reply["logprobs"]}
    body: dict[str, Any] = {"object": "chat.completion", "model": "served-model", "choices": [choice]}
    usage = reply.get("usage", (10, 5))
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return body


def _respond(reply: dict[str, Any], asked: dict[str, Any]) -> tuple[int, str, str]:
    for words, other in reply.get("by_words", ()):
        if words in asked["messages"][-1]["content"]:
            reply = other
            break
    words, refusal = reply.get("refuse", ([], None))
    if any(word in asked for word in words):
        return 400, "application/json", json.dumps(refusal)
    if "raw" in reply:
        return reply.get("status", 200), reply.get("type", "text/html"), reply["raw"]
    body = reply["json"] if "json" in reply else _completion(reply, asked)
    return reply.get("status", 200), "application/json", json.dumps(body)


def _control(path: str, body: Any) -> Any:
    if path == "/script":
        _queue.clear()
        _queue.extend(body["replies"])
        # What is still open belongs to an earlier test.
        _state.update({**body, "requests": [], "open": set(), "most": 0})
        _chance.seed(0)
        return {}
    return _state["requests"] if path == "/requests" else _state["most"]


def _reply(request: dict[str, Any]) -> dict[str, Any]:
    """What the request that was just opened is answered with."""
    if _state["capacity"] is not None and len(_state["open"]) > _state["capacity"]:
        return _state["full"]
    if _state["faults"] and _chance.random() < _state["share"]:
        request["fault"] = _chance.randrange(len(_state["faults"]))
        return _state["faults"][request["fault"]]
    return _queue.popleft() if _queue else _state["then"]


def _break_off(writer: asyncio.StreamWriter) -> None:
    """Close the connection by a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            path = line.split()[1].decode()
            headers = {}
            while (header := (await reader.readline()).strip()) != b"":
                name, _, value = header.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            data = await reader.readexactly(int(headers.get("content-length", 0)))
            body = json.loads(data) if data else None
            more: dict[str, str] = {}
            if path.endswith("/chat/completions"):
                request = {"path": path, "headers": headers, "body": body, "digest": digest_of(body), "served": False}
                request["fault"] = None
                _state["requests"].append(request)
                open_requests = _state["open"]
                open_requests.add(writer)
                _state["most"] = max(_state["most"], len(open_requests))
                reply = _reply(request)
                if reply.get("hang"):
                    await reader.read()  # until the client has gone
                await asyncio.sleep(reply.get("delay", 0))
                open_requests.discard(writer)
                if reply.get("hang_up"):
                    break
                more = reply.get("headers", {})
                status, kind, text = _respond(reply, body)
                whole = not reply.keys() & {"json", "raw", "cut", "reset", "drip", "status", "hang"}
                request["served"] = whole and status == 200
            else:
                reply, status, kind, text = {}, 200, "application/json", json.dumps(_control(path, body))
            payload = text.encode()
            lines = [
                f"HTTP/1.1 {status} Status",
                f"Content-Type: {kind}",
                f"Content-Length: {len(payload)}",
                *(f"{name}: {value}" for name, value in more.items()),
            ]
            writer.write("\r\n".join([*lines, "", ""]).encode())
            if reply.get("drip"):
                for byte in payload:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(reply["drip"])
                continue
            writer.write(payload[: reply.get("cut", reply.get("reset", len(payload)))])
            await writer.drain()
            if "reset" in reply:
                await asyncio.sleep(0.02)  # what was sent before arrives
                _break_off(writer)
            if {"cut", "reset"} & reply.keys():
                break
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # the client has gone
    finally:
        writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())

"""Chat completions from every endpoint that speaks OpenAI's protocol: OpenAI itself, Ollama, vLLM and others.

The ``openai`` package says how an endpoint is addressed: the headers, authentication among them.  The calls
themselves go through aiohttp, as the package's way of building a request and reading a reply takes more processor
time than all else that is done for a call (``tests/benchmark_overhead.py``).  Nothing heavy is imported before the
first call.  Tries that fail are made again here and not by the package, so that each of them is counted, has its
price promised before it is made, and waits without holding anybody else up.

The key is read from the environment and goes nowhere but into the request: messages quote an endpoint's words
with the key blotted out, and carry no exception that holds the request's headers.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import math
import os
import random
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from email.utils import mktime_tz, parsedate_tz
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ..errors import ConfigurationError, ContextTooLong, MissingKey, ModelError
from ..transcript import Usage
from .base import Completion, FailedTry, Model, ModelCall, TokenProbabilities

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["ModelOptions", "OpenAICompatible", "ollama", "openai", "vllm"]

_log = logging.getLogger("oversight")

_FIRST_DELAY, _LONGEST_DELAY = 0.5, 8.0
"""Seconds before a second try, doubled for each that follows, where the endpoint does not say how long to wait."""

_LONGEST_WAIT = 120.0
"""Seconds that are waited at most because an endpoint asks for it; a call is given up where it asks for more."""

_CONNECTING = 30.0
"""Seconds that connecting may take at most."""

_CROWDED = frozenset({429, 503, 529})
"""What endpoints say that have no room for a call now."""

_QUOTED = 300
"""Characters of an endpoint's words that a message quotes."""

_LARGEST, _MOST_WORDS = 32_000_000, 5_000
"""Bytes of the largest reply that is read, and characters of an endpoint's words that are looked at."""

_SHORTEST_KEY = 16
"""Characters of the shortest key that gives access to anything; OpenAI's have more than 40."""

Refusable = Literal["max_tokens", "logprobs", "temperature"]

# How OpenAI, vLLM and llama.cpp say that a prompt does not fit.
_TOO_LONG = re.compile(
    r"(?:maximum context length|context size|context window|maximum model length)\D{0,20}(?P<window>[0-9][0-9,]*)?"
    r"|context_length_exceeded",
    re.IGNORECASE,
)
_REQUESTED = re.compile(r"(?:requested|resulted in|has|contains)\s+(?:about\s+)?(?P<tokens>[0-9][0-9,]*)\s+tokens")


@dataclass(frozen=True)
class ModelOptions:
    """How models are reached; the same for every provider.

    Parameters
    ----------
    base_url : address of the endpoint (``http://localhost:8000/v1``); None for the provider's own.
    price : dollars for a million input tokens and for a million output tokens; None to look it up.
    max_retries : how often a try that failed is made again, at least 0.
    timeout : seconds without a byte from the endpoint after which a try has failed, above 0.
    call_timeout : seconds after which a try has failed whatever has arrived by then, above 0.

    Raises
    ------
    ConfigurationError
        if a value is out of its range.
    """

    base_url: str | None = None
    price: tuple[float, float] | None = None
    max_retries: int = 4
    timeout: float = 120.0
    call_timeout: float = 600.0

    def __post_init__(self) -> None:
        if self.price is not None and (
            len(self.price) != 2 or any(not math.isfinite(dollars) or dollars < 0 for dollars in self.price)
        ):
            raise ConfigurationError(
                f"price {self.price}: give two numbers, dollars per million input and per million output tokens"
            )
        if self.max_retries < 0:
            raise ConfigurationError(f"max_retries {self.max_retries}: give 0 or more")
        for name, seconds in (("timeout", self.timeout), ("call_timeout", self.call_timeout)):
            if not (math.isfinite(seconds) and seconds > 0):
                raise ConfigurationError(f"{name} {seconds}: give a number of seconds above 0")


class OpenAICompatible(Model):
    """A model behind an endpoint that speaks OpenAI's protocol.

    What an endpoint rejects is learned once: ``max_tokens`` becomes ``max_completion_tokens``,
    log-probabilities are no longer asked for (a completion's ``tokens`` are then None), and a temperature
    that cannot be set is left out, with a warning.

    Parameters
    ----------
    model : the model's name at the endpoint (``gpt-4o-mini``).
    base_url : the endpoint's address up to and including the version, without credentials or query.
    provider : the word before the slash in the name that users write.
    key : the API key; None where there is none.
    needs_key : whether the endpoint cannot be called without one.
    key_variable : the environment variable that the key comes from, for messages.
    free : whether tokens cost nothing (a local server).
    options : retries, timeout and price.

    Raises
    ------
    ConfigurationError
        if the address or the key cannot be one.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        provider: str = "openai",
        key: str | None = None,
        needs_key: bool = False,
        key_variable: str = "OPENAI_API_KEY",
        free: bool = False,
        options: ModelOptions | None = None,
    ) -> None:
        super().__init__(f"{provider}/{model}")
        self.model, self.provider, self.key_variable, self.free = model, provider, key_variable, free
        self.base_url = _address(base_url)
        self.options = options or ModelOptions()
        self._key, self._needs_key = (key or "").strip(), needs_key
        if not (self._key.isascii() and self._key.isprintable()) or " " in self._key:
            raise ConfigurationError(f"{key_variable} holds characters that no key has: copy the key again")
        self._refused: frozenset[Refusable] = frozenset()
        self._connection: _Connection | None = None

    def describe(self) -> dict[str, Any]:
        return {"model": self.model, "provider": self.provider, "base_url": self.base_url}

    def price(self, usage: Usage) -> float | None:
        if self.options.price is not None:
            per_input, per_output = self.options.price
            return (usage.input_tokens * per_input + usage.output_tokens * per_output) / 1e6
        if self.free:
            return 0.0
        listed = _list_price(self.model, self.base_url, usage)
        # Unknown to the price list and on this machine: a local server.
        return 0.0 if listed is None and _is_loopback(self.base_url) else listed

    def require(self) -> None:
        if self._needs_key and not self._key:
            variable = self.key_variable
            raise MissingKey(f"{self.name} needs a key: set it with 'export {variable}=...' and run this again")

    async def complete(self, call: ModelCall) -> Completion:
        paid, retries = Usage(), 0  # paid: for replies that came and could not be used
        while True:
            found = await self._try(call)
            if isinstance(found, Completion):
                return replace(found, usage=replace(paid + found.usage, retries=retries)) if retries else found
            if found.paid is not None:
                paid += found.paid
            if not found.passing or retries == self.options.max_retries or (found.wait or 0) > _LONGEST_WAIT:
                raise self._given_up(found, retries, paid)
            retries += 1
            delay = min(_FIRST_DELAY * 2 ** (retries - 1), _LONGEST_DELAY) * random.uniform(0.75, 1.0)
            if found.wait is not None:  # not all at the same moment
                delay = found.wait * random.uniform(1.0, 1.1)
            async with call.between_tries(found.failed) if call.between_tries is not None else nullcontext():
                await asyncio.sleep(delay)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.release()

    # ---- machinery ------------------------------------------------------------------------------

    def _body(self, call: ModelCall, refused: frozenset[Refusable]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": [dict(message) for message in call.messages]}
        body["max_completion_tokens" if "max_tokens" in refused else "max_tokens"] = call.max_tokens
        if call.temperature is not None and "temperature" not in refused:
            body["temperature"] = call.temperature
        if call.top_logprobs is not None and "logprobs" not in refused:
            body["logprobs"] = True
            body["top_logprobs"] = call.top_logprobs
        return body

    async def _try(self, call: ModelCall) -> Completion | _Fault:
        """One try; raises ModelError for what no other try mends."""
        reply = await self._post(call)
        if isinstance(reply, _Fault):
            return reply
        used = self._usage(reply)
        read = _read(reply, call, used)
        if isinstance(read, _Fault) and (used.input_tokens or used.output_tokens):
            return replace(read, paid=replace(used, calls=0))
        if isinstance(read, Completion) and self._key and self._key in read.text + read.model:
            return replace(read, text=self._without_key(read.text), model=self._without_key(read.model))
        return read

    async def _post(self, call: ModelCall) -> Any:
        """The endpoint's reply, as parsed JSON (or text, where it is not JSON); or why there is none."""
        from aiohttp import ClientError

        connection = self._connected()
        refused = self._refused
        while True:
            # Errors are raised outside the except clauses: a chained exception holds the request and its key.
            fault: _Fault | ModelError
            try:
                async with asyncio.timeout(self.options.call_timeout) as bound:
                    reply = await connection.post(self._body(call, refused))
            except Exception as failed:
                more = None
                if isinstance(failed, TimeoutError) and bound.expired():
                    fault = _Fault(
                        f"no whole reply within {self.options.call_timeout:g} s",
                        reason="no reply",
                        advice="raise the call timeout, or ask for fewer tokens",
                        lost=True,
                    )
                elif isinstance(failed, _TooLarge):
                    fault = _Fault(f"the reply is larger than {_LARGEST // 1_000_000} MB", lost=True)
                elif isinstance(failed, ClientError | OSError):
                    fault = self._connection_fault(failed)
                else:  # its text may hold anything, the headers too
                    fault = self._error(f"the call failed with {type(failed).__name__}")
            else:
                if 200 <= reply.status < 300:
                    self._remember(refused)
                    return reply.body
                more = self._newly_refused(reply, call, refused)
                fault = self._status_fault(reply)
            if more is None:
                if isinstance(fault, ModelError):
                    raise fault
                return fault
            refused |= {more}

    def _newly_refused(self, reply: _Reply, call: ModelCall, refused: frozenset[Refusable]) -> Refusable | None:
        """The parameter that the endpoint rejects and that the call can do without."""
        if reply.status not in (400, 422):
            return None
        words = reply.words.casefold()
        if "logprob" in words and call.top_logprobs is not None and "logprobs" not in refused:
            return "logprobs"
        names_limit = "max_tokens" in words or "max_completion_tokens" in words
        if names_limit and "too large" not in words and "max_tokens" not in refused:
            return "max_tokens"
        cannot = any(phrase in words for phrase in ("support", "only the default", "not allowed", "not permitted"))
        if "temperature" in words and cannot and call.temperature is not None and "temperature" not in refused:
            return "temperature"
        return None

    def _remember(self, refused: frozenset[Refusable]) -> None:
        new = refused - self._refused
        if not new:
            return
        self._refused |= new
        if "temperature" in new:
            _log.warning("%s does not let its temperature be set: it samples at its own", self.name)

    def _usage(self, reply: Any) -> Usage:
        counts = reply.get("usage") if isinstance(reply, dict) else None
        if not isinstance(counts, dict):  # uncounted: free is free, anything else is unknown
            return Usage(1, dollars=0.0 if self.price(Usage(0, 1, 1)) == 0.0 else None)
        usage = Usage(0, _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens")))
        return Usage(1, usage.input_tokens, usage.output_tokens, self.price(usage))

    def _connected(self) -> _Connection:
        self.require()
        loop = asyncio.get_running_loop()
        if self._connection is None or self._connection.loop is not loop:
            self._connection = _Connection.to(loop, self)
        return self._connection

    def _given_up(self, fault: _Fault, retries: int, paid: Usage) -> ModelError:
        """The error that a call ends in."""
        tries = f", after {retries} {'retry' if retries == 1 else 'retries'}" if retries else ""
        advice, failed = fault.advice, fault.failed
        if fault.passing and (fault.wait or 0) > _LONGEST_WAIT:
            failed = replace(failed, wait=None)  # nobody waits for so long, others neither
            asked = f"{fault.wait:.0f} s" if math.isfinite(fault.wait or 0) else "without end"
            advice = f"the endpoint asks to wait {asked}, more than the {_LONGEST_WAIT:g} s waited at most"
        what = f"{fault.what}{tries}{self._said(fault.words)}{f': {advice}' if advice else ''}"
        usage = replace(paid, retries=retries) if paid != Usage() or retries else None
        return self._error(what, usage, failed if fault.passing else None)

    def _without_key(self, text: str) -> str:
        """A reply without the key, which an endpoint that repeats headers may put there: replies are kept.

        What stands for a key at a local server (``none``, ``EMPTY``) is shorter than any key, and a word in replies.
        """
        return text.replace(self._key, "[key]") if len(self._key) >= _SHORTEST_KEY else text

    def _said(self, words: str) -> str:
        """The endpoint's words, for a message."""
        if self._key:  # before they are shortened, so that no part of it is left
            words = words.replace(self._key, "[key]")
        words = _one_line(words)
        return f" ({words[:_QUOTED]}{'...' if len(words) > _QUOTED else ''})" if words else ""

    def _error(self, what: str, paid: Usage | None = None, failed: FailedTry | None = None) -> ModelError:
        return ModelError(f"{self.name} at {self.base_url}: {what}", paid, failed)

    def _status_fault(self, reply: _Reply) -> _Fault | ModelError:
        code, words = reply.status, reply.words
        said, headers = self._said(words), reply.headers
        if 300 <= code < 400:
            return self._error(
                f"the endpoint redirects to another address ({code}), which is not followed: give that address as the "
                "base URL, if it is to be trusted"
            )
        if code == 401:  # its words often show part of the key
            found = "refused the key" if self._key else "wants a key"
            return self._error(f"the endpoint {found} (401): set {self.key_variable} to a key that is valid there")
        if code == 403:
            return self._error(f"not allowed (403){said}: check what the key in {self.key_variable} may use")
        if code == 404:
            return self._error(f"no such model or address (404){said}: check the model's name and the base URL")
        if code in (400, 413, 422) and (too_long := _TOO_LONG.search(words)):
            asked = _REQUESTED.search(words)
            tokens = _number(asked["tokens"]) if asked else None
            return ContextTooLong(f"{self.name} at {self.base_url}", tokens, _number(too_long["window"]))
        passing = code in (408, 409, 429) or code >= 500
        if not passing:
            return self._error(f"the endpoint rejected the call ({code}){said}: change what is asked, or the model")
        fault = _Fault(
            f"the endpoint failed ({code})",
            words,
            passing=headers.get("x-should-retry") != "false",
            reason=str(code),
            crowded=code in _CROWDED,
            wait=_wait(headers),
            advice="try again later",
        )
        if code != 429:
            return fault
        if "insufficient_quota" in (reply.error.get("code"), reply.error.get("type")):
            return replace(fault, what="no quota left (429)", passing=False, advice="add to it, and retry what failed")
        return replace(fault, what="too many calls or no quota left (429)", advice="lower --max-connections")

    def _connection_fault(self, failed: Exception) -> _Fault:
        from aiohttp import ClientHttpProxyError, ConnectionTimeoutError

        if isinstance(failed, ClientHttpProxyError):
            return _Fault(
                f"the proxy refuses to connect ({failed.status})", reason="cannot connect", advice="check the proxy"
            )
        if isinstance(failed, ConnectionTimeoutError):
            return _Fault(
                f"cannot connect within {min(self.options.timeout, _CONNECTING):g} s",
                reason="cannot connect",
                advice="check that the server runs there, and the base URL",
            )
        # Failed handshakes and unknown hosts arrive under error numbers of their own, so the causes tell them apart.
        causes = list(_causes(failed))
        reason = ""
        certain = False
        for cause in causes:
            if isinstance(cause, ssl.SSLError):
                reason, certain = "its certificate or encryption is not accepted", True
            elif isinstance(cause, socket.gaierror):  # its numbers are not those of other errors
                reason = "unknown host"
            elif isinstance(cause, ConnectionResetError | BrokenPipeError):  # connected, and broke
                continue
            elif isinstance(cause, OSError) and cause.errno and not isinstance(cause, TimeoutError):
                reason = reason or os.strerror(cause.errno)
        if reason:
            return _Fault(
                f"cannot connect ({reason})",
                passing=not certain,
                reason="cannot connect",
                advice="check that the server runs there, and the base URL",
            )
        if any(isinstance(cause, TimeoutError) for cause in causes):
            return _Fault(
                f"no reply within {self.options.timeout:g} s",
                reason="no reply",
                advice="raise the timeout, or lower --max-connections",
                lost=True,
            )
        return _Fault(
            "the connection broke before the reply was complete",
            reason="connection broke",
            advice="try again later",
            lost=True,
        )


def openai(name: str, options: ModelOptions) -> Model:
    """``openai/NAME``: OpenAI, or whatever ``OPENAI_BASE_URL`` points at; the key is ``OPENAI_API_KEY``.

    An endpoint on this machine needs no key; elsewhere the model can be named without one, but not called.
    """
    base_url = options.base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
    return OpenAICompatible(
        name,
        base_url=base_url,
        provider="openai",
        key=os.environ.get("OPENAI_API_KEY"),
        needs_key=not _is_loopback(_address(base_url)),
        options=options,
    )


def ollama(name: str, options: ModelOptions) -> Model:
    """``ollama/NAME``: an Ollama server, on this machine or at ``OLLAMA_BASE_URL``."""
    return _local("ollama", name, "http://localhost:11434/v1", options)


def vllm(name: str, options: ModelOptions) -> Model:
    """``vllm/NAME``: a vLLM server, on this machine or at ``VLLM_BASE_URL``."""
    return _local("vllm", name, "http://localhost:8000/v1", options)


def _local(provider: str, name: str, default: str, options: ModelOptions) -> Model:
    prefix = provider.upper()
    return OpenAICompatible(
        name,
        base_url=options.base_url or os.environ.get(f"{prefix}_BASE_URL") or default,
        provider=provider,
        key=os.environ.get(f"{prefix}_API_KEY"),
        key_variable=f"{prefix}_API_KEY",
        free=True,
        options=options,
    )


# ---- connections --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reply:
    """What an endpoint sent.

    Parameters
    ----------
    status : HTTP status.
    headers : by name, whatever its case.
    body : parsed JSON, or text where it is none.
    """

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def error(self) -> Mapping[str, Any]:
        """What a refusal's JSON says of it; empty where it says nothing."""
        inner = self.body.get("error", self.body) if isinstance(self.body, dict) else None
        return inner if isinstance(inner, dict) else {}

    @property
    def words(self) -> str:
        """What the endpoint says about its refusal."""
        body = self.body
        if isinstance(body, dict):
            inner = body.get("error", body)
            message = inner.get("message") if isinstance(inner, dict) else inner
            body = message if isinstance(message, str) else json.dumps(body)
        return body[:_MOST_WORDS] if isinstance(body, str) else ""


class _Connection:
    """Connections to one endpoint with one key, shared by its models in one event loop."""

    _open: dict[asyncio.AbstractEventLoop, dict[tuple[Any, ...], _Connection]] = {}  # noqa: RUF012  # is one for all

    def __init__(self, loop: asyncio.AbstractEventLoop, key: tuple[Any, ...], model: OpenAICompatible) -> None:
        import openai as sdk

        self.loop, self.key, self.users = loop, key, 0
        self.timeout, self.url = model.options.timeout, f"{model.base_url}/chat/completions"
        self.proxy = _proxy(model.base_url)
        self._addressing = client = sdk.AsyncOpenAI(
            base_url=model.base_url,
            api_key=model._key or "none",  # the SDK insists on one
            http_client=sdk.DefaultAioHttpClient(trust_env=False),  # is never used, and looks for proxies otherwise
        )
        if model.provider != "openai":  # read from OpenAI's variables, and nobody else's business
            client.organization = client.project = None
        headers = {**client.default_headers, **client.auth_headers, "Accept-Encoding": "identity"}
        self.headers = {name: value for name, value in headers.items() if isinstance(value, str)}
        self._session: ClientSession | None = None

    @classmethod
    def to(cls, loop: asyncio.AbstractEventLoop, model: OpenAICompatible) -> _Connection:
        """The connection to a model's endpoint, opened if need be."""
        for closed in [known for known in cls._open if known.is_closed()]:
            del cls._open[closed]
        # Organisation headers depend on the provider, the timeout on the options.
        key = (model.base_url, model._key, model.provider, model.options.timeout)
        known = cls._open.setdefault(loop, {})
        if key not in known:
            known[key] = cls(loop, key, model)
        known[key].users += 1
        return known[key]

    async def post(self, body: Mapping[str, Any]) -> _Reply:
        """The endpoint's reply to one call, whatever its status; raises _TooLarge, and what the connection raises."""
        content = bytearray()
        # Whoever answers in the endpoint's place is not given the prompt as well.
        sent = self.session().post(self.url, data=json.dumps(body).encode(), allow_redirects=False, proxy=self.proxy)
        async with sent as response:
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > _LARGEST:
                    raise _TooLarge
            try:
                parsed = json.loads(content)
            except (ValueError, RecursionError):
                parsed = content.decode("utf-8", "replace")
            return _Reply(response.status, response.headers, parsed)

    def session(self) -> ClientSession:
        """aiohttp's side of it, made with the first call."""
        if self._session is None:
            self._session = _new_session(self.url, self.headers, self.timeout)
        return self._session

    async def release(self) -> None:
        """One model less; the last one closes the connections."""
        self.users -= 1
        if self.users or self.loop.is_closed():
            return
        known = self._open.get(self.loop, {})
        known.pop(self.key, None)
        if not known:
            self._open.pop(self.loop, None)
        await self._addressing.close()
        if self._session is not None:
            await self._session.close()


class _TooLarge(Exception):
    """A reply is larger than any completion."""


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for an address; None stands between a machine and itself.

    Raises
    ------
    ConfigurationError
        if it is none that speaks HTTP.
    """
    parts = urlsplit(url)
    if _is_loopback(url) or proxy_bypass(parts.hostname or ""):
        return None
    named = getproxies()
    found = named.get(parts.scheme) or named.get("all")
    if found is not None and not found.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"the proxy that the environment names for {parts.hostname} is no HTTP proxy: set {parts.scheme}_proxy to "
            "one, or add the host to no_proxy"
        )
    return found


def _new_session(url: str, headers: Mapping[str, str], timeout: float) -> ClientSession:
    import aiohttp
    import truststore

    secure: Any = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if url.startswith("https:") else True
    return aiohttp.ClientSession(
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(timeout, _CONNECTING), sock_read=timeout),
        # How many calls are in flight is decided elsewhere.  Many servers let go of a connection after 5 idle seconds,
        # and a call that is sent at that moment is lost.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0, ssl=secure),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # a few bytes can be packed gigabytes, and we ask for plain replies
    )


# ---- reading replies ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fault:
    """Why a try failed, for the message and for what comes next.

    Parameters
    ----------
    what : what happened.
    words : what the endpoint says of it.
    passing : whether another try may end better.
    reason, crowded, wait, paid, lost : as in :class:`FailedTry`.
    advice : what to do when no more tries are made.
    """

    what: str
    words: str = ""
    passing: bool = True
    reason: str = "unusable reply"
    crowded: bool = False
    wait: float | None = None
    paid: Usage | None = None
    lost: bool = False
    advice: str = "try again later, or another model"

    @property
    def failed(self) -> FailedTry:
        """The try, as others are told of it."""
        return FailedTry(self.reason, self.crowded, self.wait, self.paid, self.lost)


def _lasting(what: str, words: str = "") -> _Fault:
    """A fault that holds for every try."""
    return _Fault(what, words, passing=False, advice="")


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that the endpoint asks to wait, by ``Retry-After`` (seconds or a date) or ``retry-after-ms``."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            seconds = float(text) * unit
        except ValueError:
            try:
                date = parsedate_tz(text)
                seconds = math.nan if date is None else mktime_tz(date) - time.time()
            except (ValueError, OverflowError):
                continue
        if not math.isnan(seconds):
            return max(seconds, 0.0)
    return None


def _read(reply: Any, call: ModelCall, used: Usage) -> Completion | _Fault:
    if isinstance(reply, str):
        return _Fault("the reply is not JSON")
    if not isinstance(reply, dict):
        return _Fault("the reply is not a completion")
    if reply.get("error"):
        error = reply["error"]
        words, code = (error.get("message"), error.get("code")) if isinstance(error, dict) else (error, None)
        return _Fault("the reply reports an error", str(words), reason="error in reply", crowded=code in [*_CROWDED])
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return _Fault("the reply holds no completion")
    text = _well_formed(_text(message.get("content")))
    finish = choice.get("finish_reason")
    if finish == "content_filter":
        return _lasting("the endpoint's content filter stopped the reply: change the question or the model")
    if not text.strip():
        refusal = message.get("refusal")
        if isinstance(refusal, str) and refusal.strip():
            return _lasting("the model refused, so change the question or the model", refusal)
        if finish == "length":
            return _lasting(
                f"all {call.max_tokens} tokens were used before anything was said: raise the limit of tokens"
            )
        return _Fault("the reply is empty", reason="empty reply")
    return Completion(
        text=text,
        finish="length" if finish == "length" else "stop",
        tokens=_tokens(choice.get("logprobs")) if call.top_logprobs is not None else None,
        usage=used,
        model=_well_formed(reply["model"]) if isinstance(reply.get("model"), str) else "",
    )


def _text(content: Any) -> str:
    if isinstance(content, list):  # content in parts; those that are text
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _tokens(logprobs: Any) -> tuple[TokenProbabilities, ...] | None:
    """Log-probabilities by token; None where any part of them is not what it should be."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list) or not content:
        return None
    tokens = []
    for entry in content:
        if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
            return None
        alternatives: dict[str, float] = {}
        listed = entry.get("top_logprobs") or [entry]  # some servers give the chosen token alone
        if not isinstance(listed, list):
            return None
        for one in listed:
            if not isinstance(one, dict) or not isinstance(one.get("token"), str):
                return None
            value = one.get("logprob")
            if isinstance(value, bool) or not isinstance(value, int | float):
                return None
            if not math.isfinite(value):  # probability 0 in JSON's dialects
                continue
            token, value = _well_formed(one["token"]), min(float(value), 0.0)
            if token in alternatives:  # several tokens that are written alike
                value = min(math.log(math.exp(alternatives[token]) + math.exp(value) or 5e-324), 0.0)
            alternatives[token] = value
        tokens.append(TokenProbabilities(_well_formed(entry["token"]), alternatives))
    return tuple(tokens)


def _number(digits: str | None) -> int | None:
    return int(digits.replace(",", "")) if digits else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53 else 0


def _well_formed(text: str) -> str:
    """The text with halves of surrogate pairs replaced: JSON can hold them, files and requests cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


# ---- addresses, prices, words -------------------------------------------------------------------


def _address(base_url: str) -> str:
    """The address without a trailing slash; raises ConfigurationError where it is none, or holds a secret."""
    try:
        parts = urlsplit(base_url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or any(character.isspace() for character in base_url.strip()):
        raise ConfigurationError("the base URL is not an address: write it like http://localhost:8000/v1")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(
            f"the base URL at {host} holds credentials or a query: put the key in its environment variable, "
            "and write the address like http://localhost:8000/v1"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


@lru_cache(maxsize=64)
def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified  # 0.0.0.0, as servers print it, leads to this machine


def _list_price(model: str, base_url: str, usage: Usage) -> float | None:
    """Dollars by the price list that genai-prices ships; None where it does not know the model."""
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    tokens = Tokens(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
    host = urlsplit(base_url).hostname or ""
    try:
        if host == "api.openai.com" or _is_loopback(base_url):  # on this machine: a relay, at the list price
            return float(calc_price(tokens, model, provider_id="openai").total_price)
        return float(calc_price(tokens, model, provider_api_url=base_url).total_price)
    except (LookupError, ValueError):
        return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it, nearest first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _one_line(words: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in words).split())

"""The endpoint client, against a real server on the loopback address."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import shutil
import socket
import ssl
import subprocess
import sys
import traceback
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from oversight.errors import ConfigurationError, MissingKey, ModelError
from oversight.models import Completion, ModelCall, openai_compatible
from oversight.models.openai_compatible import ModelOptions, OpenAICompatible, ollama, openai, vllm
from oversight.transcript import Usage

_file = Path(__file__).with_name("endpoint.py")
_specification = importlib.util.spec_from_file_location("oversight_test_endpoint", _file)
endpoints = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(endpoints)

KEY = "sk-canary-0123456789abcdef"
CALL = ModelCall(({"role": "user", "content": "Hi"},), temperature=0.5, max_tokens=7)
NOW = {"retry-after-ms": "1"}


@pytest.fixture(scope="module")
def endpoint():
    with endpoints.running() as running:
        yield running


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    monkeypatch.setattr(openai_compatible, "_FIRST_DELAY", 0.001)
    for name in ("OPENAI", "OLLAMA", "VLLM"):
        for part in ("API_KEY", "BASE_URL"):
            monkeypatch.delenv(f"{name}_{part}", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def complete(endpoint, *calls, name="gpt-test", **options):
    """Completions of the calls, one after the other, and the model they came from."""

    async def main():
        model = openai(name, ModelOptions(base_url=endpoint.base_url, **options))
        try:
            return [await model.complete(call) for call in calls or (CALL,)], model
        finally:
            await model.close()

    return asyncio.run(main())


def failure(endpoint, *calls, **options):
    """The error that a call ends in; it never holds the key."""
    with pytest.raises(ModelError) as caught:
        complete(endpoint, *calls, **options)
    error = caught.value
    shown = "".join(traceback.format_exception(error))
    chain, current = [], error
    while current is not None:
        chain.append(current)
        current = current.__cause__ or current.__context__
    for text in (str(error), repr(error), shown, *(f"{one!r} {vars(one)!r}" for one in chain)):
        assert KEY not in text
        assert KEY[3:] not in text
    assert chain == [error]
    assert "\n" not in str(error)
    return str(error)


def test_call_and_completion(endpoint):
    endpoint.answer({"text": "Good day.", "usage": (12, 3)})
    (completion,), model = complete(endpoint)
    assert completion == Completion("Good day.", usage=Usage(1, 12, 3, 0.0), model="served-model")
    (request,) = endpoint.requests()
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["authorization"] == f"Bearer {KEY}"
    assert request["body"] == {
        "model": "gpt-test",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 7,
        "temperature": 0.5,
    }
    assert model.name == "openai/gpt-test"
    assert model.describe() == {"model": "gpt-test", "provider": "openai", "base_url": endpoint.base_url}


def test_what_is_not_set_is_not_sent(endpoint):
    endpoint.answer()
    complete(endpoint, ModelCall(CALL.messages))
    assert endpoint.bodies()[0].keys() == {"model", "messages", "max_tokens"}


def test_a_cut_reply_is_marked(endpoint):
    endpoint.answer({"text": "Once upon", "finish": "length"})
    (completion,), _ = complete(endpoint)
    assert completion.finish == "length"


def test_content_in_parts_and_halves_of_surrogate_pairs(endpoint):
    parts = [{"type": "text", "text": "Good \ud800"}, {"type": "other"}, {"type": "text", "text": "day"}]
    endpoint.answer({"message": {"content": parts}})
    (completion,), _ = complete(endpoint)
    assert completion.text == "Good \ufffdday"


# ---- log-probabilities --------------------------------------------------------------------------

ASKING = ModelCall(CALL.messages, temperature=0.0, top_logprobs=3)


def test_logprobs(endpoint):
    alternatives = [
        {"token": "A", "logprob": -0.1},
        {"token": "B", "logprob": -2.5},
        {"token": "B", "logprob": -2.5},
        {"token": "C", "logprob": 1e-9},
    ]
    endpoint.answer(
        {
            "text": "A!",
            "logprobs": [
                {"token": "A", "logprob": -0.1, "top_logprobs": alternatives},
                {"token": "!", "logprob": -0.2},
            ],
        }
    )
    (completion,), _ = complete(endpoint, ASKING)
    first, second = completion.tokens
    assert first.token == "A"
    assert first.alternatives == pytest.approx({"A": -0.1, "B": -2.5 + math.log(2), "C": 0.0})
    assert second.alternatives == {"!": -0.2}
    assert (endpoint.bodies()[0]["logprobs"], endpoint.bodies()[0]["top_logprobs"]) == (True, 3)
    assert Completion.from_dict(json.loads(json.dumps(completion.to_dict()))) == completion


@pytest.mark.parametrize(
    "given", [None, [], "x", [{"token": 3}], [{"token": "A"}], [{"token": "A", "top_logprobs": 3}]]
)
def test_logprobs_that_did_not_come_are_none(endpoint, given):
    endpoint.answer({"text": "A", "logprobs": given})
    (completion,), _ = complete(endpoint, ASKING)
    assert completion.tokens is None


def test_logprobs_that_are_rejected_are_asked_for_once(endpoint):
    refusal = {"error": {"message": "logprobs are not supported by this model", "type": "invalid_request_error"}}
    endpoint.answer(then={"refuse": [["logprobs"], refusal]})
    completions, _ = complete(endpoint, ASKING, ASKING)
    assert [completion.tokens for completion in completions] == [None, None]
    assert ["logprobs" in body for body in endpoint.bodies()] == [True, False, False]


def test_max_tokens_is_renamed_once(endpoint):
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    endpoint.answer(then={"refuse": [["max_tokens"], {"error": {"message": words, "param": "max_tokens"}}]})
    complete(endpoint, CALL, CALL)
    assert [body.get("max_tokens") for body in endpoint.bodies()] == [7, None, None]
    assert [body.get("max_completion_tokens") for body in endpoint.bodies()] == [None, 7, 7]


def test_a_rejection_that_renaming_does_not_mend_is_reported(endpoint):
    refusal = {"error": {"message": "max_tokens or max_completion_tokens: bad value"}}
    endpoint.answer(then={"refuse": [["model"], refusal]})
    assert "rejected the call (400) (max_tokens or" in failure(endpoint)
    assert len(endpoint.requests()) == 2


def test_a_temperature_that_cannot_be_set_is_left_out_with_a_warning(endpoint, caplog):
    words = "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) is supported."
    endpoint.answer(then={"refuse": [["temperature"], {"error": {"message": words}}]})
    complete(endpoint, CALL, CALL)
    assert ["temperature" in body for body in endpoint.bodies()] == [True, False, False]
    assert [record.message for record in caplog.records if record.name == "oversight"] == [
        "openai/gpt-test does not let its temperature be set: it samples at its own"
    ]


# ---- faults -------------------------------------------------------------------------------------

UNUSABLE = {
    "error inside": ({"json": {"error": {"message": f"overloaded, key {KEY}", "code": 503}}}, "overloaded, key [key]"),
    "no choices": ({"json": {"choices": []}}, "holds no completion"),
    "null": ({"json": None}, "not a completion"),
    "list": ({"json": [1]}, "not a completion"),
    "empty": ({"text": " \n"}, "the reply is empty"),
    "no content": ({"message": {"content": None}}, "the reply is empty"),
    "not JSON": ({"raw": "<html>Bad gateway</html>"}, "not JSON"),
    "not JSON though called so": ({"raw": "{oops", "type": "application/json"}, "not JSON"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_reply_is_asked_for_again(endpoint, name):
    reply, _ = UNUSABLE[name]
    endpoint.answer(reply, reply, {"text": "At last."})
    (completion,), _ = complete(endpoint)
    assert completion.text == "At last."
    assert len(endpoint.requests()) == 3


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_reply_is_an_error_in_the_end(endpoint, name):
    reply, words = UNUSABLE[name]
    endpoint.answer(then=reply)
    message = failure(endpoint, max_retries=2)
    assert words in message
    assert message.startswith(f"openai/gpt-test at {endpoint.base_url}: ")
    assert "after 2 retries" in message
    assert len(endpoint.requests()) == 3


def test_unusable_replies_that_were_paid_for_are_counted(endpoint):
    endpoint.answer({"text": "", "usage": (10, 2)}, {"text": "Yes.", "usage": (10, 3)})
    (completion,), _ = complete(endpoint, price=(1.0, 10.0))
    assert completion.usage == Usage(1, 20, 5, pytest.approx(70e-6), retries=1)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ({"message": {"content": None, "refusal": f"I will not, {KEY}."}}, "the model refused"),
        ({"text": "Half of", "finish": "content_filter"}, "content filter"),
        ({"text": "", "finish": "length"}, "all 7 tokens were used before anything was said"),
        (
            {"status": 401, "json": {"error": {"message": f"Incorrect API key provided: {KEY}"}}},
            "refused the key (401)",
        ),
        ({"status": 403, "json": {"error": {"message": f"no {KEY}"}}}, "not allowed (403) (no [key])"),
        ({"status": 404, "json": {"error": {"message": "no model"}}}, "no such model or address (404) (no model)"),
        ({"status": 404, "raw": f"<h1>\n{'x' * 298}{KEY}"}, "no such model or address (404)"),
        ({"status": 400, "json": {"error": "context length exceeded"}}, "(400) (context length exceeded)"),
        ({"status": 400, "json": {"detail": [1]}}, '(400) ({"detail": [1]})'),
    ],
)
def test_faults_that_another_try_does_not_mend(endpoint, reply, words):
    endpoint.answer(then=reply)
    assert words in failure(endpoint)
    assert len(endpoint.requests()) == 1


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ({"status": 429, "json": {"error": {"message": "slow down"}}}, "(429), after 2 retries (slow down)"),
        ({"status": 500, "raw": "oops"}, "the endpoint failed (500), after 2 retries (oops)"),
        ({"status": 503, "json": {}}, "the endpoint failed (503), after 2 retries"),
    ],
)
def test_faults_that_pass_are_retried(endpoint, reply, words):
    endpoint.answer(then={**reply, "headers": NOW})
    assert words in failure(endpoint, max_retries=2)
    assert len(endpoint.requests()) == 3
    endpoint.answer({**reply, "headers": NOW}, {"text": "Well."})
    (completion,), _ = complete(endpoint)
    assert (completion.text, completion.usage.calls) == ("Well.", 1)


def test_timeout_hang_up_and_no_server(endpoint):
    endpoint.answer(then={"delay": 1.0})
    assert "no reply within 0.1 s" in failure(endpoint, max_retries=0, timeout=0.1)
    endpoint.answer(then={"hang_up": True})
    assert "the connection broke" in failure(endpoint, max_retries=0)
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]
    nobody = type("Nobody", (), {"base_url": f"http://127.0.0.1:{port}/v1"})
    assert "cannot connect (Connection refused): check that the server runs" in failure(nobody, max_retries=0)


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (socket.gaierror(8, KEY), "cannot connect (unknown host)"),
        (ssl.SSLCertVerificationError(1, KEY), "cannot connect (its certificate or encryption is not accepted)"),
        (ConnectionRefusedError(111, KEY), "cannot connect (Connection refused)"),
        (TimeoutError(KEY), "no reply within 120 s, after 4 retries"),
        (TimeoutError(110, KEY), "no reply within 120 s, after 4 retries"),
        (RuntimeError(KEY), "the connection broke"),
    ],
)
def test_what_broke_a_connection_is_told_apart(cause, words):
    nearest = OSError(1, KEY) if isinstance(cause, ssl.SSLError | socket.gaierror) else RuntimeError()
    nearest.__cause__ = cause
    model = openai("m", ModelOptions())
    error = model._given_up(model._connection_fault(nearest), 4, Usage())
    assert words in str(error)
    assert KEY not in str(error)


def test_a_fault_of_our_own_making_names_no_key(endpoint, monkeypatch):
    def broken(*args):
        raise RuntimeError(f"headers: {KEY}")

    monkeypatch.setattr(OpenAICompatible, "_body", broken)
    assert "the call failed with RuntimeError" in failure(endpoint)


# ---- many at once, and connections --------------------------------------------------------------


def test_150_calls_are_in_flight_at_once(endpoint):
    endpoint.answer(then={"delay": 0.7})

    async def main():
        model = vllm("m", ModelOptions(base_url=endpoint.base_url))
        await asyncio.gather(*(model.complete(CALL) for _ in range(150)))
        await model.close()

    asyncio.run(main())
    assert endpoint.most_in_flight() == 150


def test_one_connection_an_endpoint_and_key(endpoint):
    endpoint.answer()

    async def main():
        options = ModelOptions(base_url=endpoint.base_url)
        one, other, elsewhere = openai("one", options), openai("other", options), vllm("one", options)
        for model in (one, other, elsewhere):
            await model.complete(CALL)
        assert one._connected() is other._connected()
        assert one._connected() is not elsewhere._connected()
        await one.close()
        await one.close()
        await other.complete(CALL)  # is not closed with the first
        await one.complete(CALL)  # opens again
        for model in (one, other, elsewhere):
            await model.close()
        assert not openai_compatible._Connection._open

    asyncio.run(main())


def test_a_model_serves_one_event_loop_after_another(endpoint):
    endpoint.answer()
    model = openai("gpt-test", ModelOptions(base_url=endpoint.base_url))

    async def main():
        await model.complete(CALL)
        await model.close()

    asyncio.run(main())
    asyncio.run(main())


# ---- keys, addresses, prices --------------------------------------------------------------------


def test_a_missing_key_is_named(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(MissingKey, match=r"^openai/gpt-4o needs a key: set it with 'export OPENAI_API_KEY=\.\.\.'"):
        openai("gpt-4o", ModelOptions()).require()
    for host in ("localhost", "127.0.0.1", "[::1]", "0.0.0.0"):
        openai("gpt-4o", ModelOptions(base_url=f"http://{host}:1/v1")).require()


def test_local_servers_need_no_key_and_get_no_organisation(endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("VLLM_BASE_URL", endpoint.base_url)
    endpoint.answer()

    async def main():
        model = vllm("m", ModelOptions())
        await model.complete(CALL)
        await model.close()

    asyncio.run(main())
    (request,) = endpoint.requests()
    assert KEY not in json.dumps(request)
    assert "org-secret" not in json.dumps(request)


def test_addresses(monkeypatch):
    assert ollama("m", ModelOptions()).describe()["base_url"] == "http://localhost:11434/v1"
    assert vllm("m", ModelOptions()).describe()["base_url"] == "http://localhost:8000/v1"
    assert openai("m", ModelOptions()).describe()["base_url"] == "https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "https://example.org/v1/")
    assert openai("m", ModelOptions()).describe()["base_url"] == "https://example.org/v1"
    assert openai("m", ModelOptions(base_url="http://h/v1")).describe()["base_url"] == "http://h/v1"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost:8000",
        "ftp://h/v1",
        "http://",
        "http://h:x/v1",
        "http://a b/v1",
        "http://[::1/v1",
        f"http://user:{KEY}@h/v1",
        f"https://h/v1?key={KEY}",
        f"https://h/v1#{KEY}",
    ],
)
def test_addresses_that_are_none_or_hold_a_secret(address):
    with pytest.raises(ConfigurationError) as caught:
        vllm("m", ModelOptions(base_url=address or " "))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-ä", "sk-a b", "sk-a\nb"])
def test_a_key_that_cannot_be_one(key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY holds characters that no key has"):
        openai("m", ModelOptions())


@pytest.mark.parametrize(
    "options",
    [{"price": (1.0,)}, {"price": (1.0, -1.0)}, {"price": (math.nan, 1.0)}, {"max_retries": -1}, {"timeout": 0.0}],
)
def test_options_out_of_range(options):
    with pytest.raises(ConfigurationError):
        ModelOptions(**options)


def test_prices():
    usage = Usage(1, 1_000_000, 1_000_000)
    relay = ModelOptions(base_url="http://localhost:9/v1")
    assert openai("gpt-4o-mini", ModelOptions()).price(usage) == pytest.approx(0.75)
    assert openai("gpt-4o-mini", relay).price(usage) == pytest.approx(0.75)
    assert openai("no-such-model", ModelOptions()).price(usage) is None
    assert openai("no-such-model", relay).price(usage) == 0.0
    assert openai("x", ModelOptions(base_url="https://example.org/v1")).price(usage) is None
    assert ollama("llama3", ModelOptions()).price(usage) == vllm("llama3", ModelOptions()).price(usage) == 0.0
    assert vllm("llama3", ModelOptions(price=(1.0, 2.0))).price(usage) == 3.0


def test_an_uncounted_reply_has_no_known_price(endpoint):
    endpoint.answer(then={"usage": None})
    (free,), _ = complete(endpoint)
    (priced,), _ = complete(endpoint, price=(1.0, 2.0))
    assert (free.usage, priced.usage) == (Usage(1, 0, 0, 0.0), Usage(1, 0, 0, None))


def test_the_module_loads_no_client():
    # In a process of its own: other tests have loaded it here.
    code = """import sys, oversight.models.openai_compatible
print([name for name in ('openai', 'aiohttp', 'genai_prices') if name in sys.modules])"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_endpoint_is_on_the_loopback_address(endpoint):
    assert urlsplit(endpoint.base_url).hostname == "127.0.0.1"


# ---- encryption and proxies ----------------------------------------------------------------------


def through(server_options, ask):
    """What ``ask`` gives with the port of a small server, and the request lines that the server was sent."""
    lines = []
    message = {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}], "usage": {}}
    reply = json.dumps(message).encode()

    async def serve(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines.append(head.splitlines()[0])
        length = next(
            int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")
        )
        await reader.readexactly(length)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(reply) + reply)
        await writer.drain()
        writer.close()

    async def main():
        async with await asyncio.start_server(serve, "127.0.0.1", 0, **server_options) as server:
            return await ask(server.sockets[0].getsockname()[1])

    return asyncio.run(main()), lines


async def ask(base_url):
    model = openai("m", ModelOptions(base_url=base_url, max_retries=1))
    try:
        return (await model.complete(CALL)).text
    except ModelError as error:
        return str(error)
    finally:
        await model.close()


def test_a_certificate_counts_if_the_system_trusts_it(tmp_path, monkeypatch):
    """A real handshake: one that nobody vouches for is refused at the first try; named in SSL_CERT_FILE, it serves."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def both(port):
        refused = await ask(f"https://127.0.0.1:{port}/v1")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        return refused, await ask(f"https://127.0.0.1:{port}/v1")

    (refused, accepted), lines = through({"ssl": context}, both)
    assert "cannot connect (its certificate or encryption is not accepted): check" in refused
    assert accepted == "Hello"
    assert lines == ["POST /v1/chat/completions HTTP/1.1"]


def test_a_proxy_is_taken_for_other_machines_alone(monkeypatch):
    """As the environment says, for an endpoint elsewhere; nothing stands between a machine and itself."""

    async def both(port):
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        return await ask("http://endpoint.invalid/v1"), await ask(f"http://127.0.0.1:{port}/v1")

    answers, lines = through({}, both)
    assert answers == ("Hello", "Hello")
    assert lines == [
        "POST http://endpoint.invalid/v1/chat/completions HTTP/1.1",
        "POST /v1/chat/completions HTTP/1.1",
    ]


def test_proxies_and_certificates_of_the_environment_do_not_stop_calls_to_this_machine(endpoint, monkeypatch):
    """What the openai package would make of them at its start is nobody's business."""
    endpoint.answer(then={"text": "Hello"})
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    assert asyncio.run(ask(endpoint.base_url)) == "Hello"


def test_a_proxy_that_speaks_no_http_is_refused_and_not_passed_by(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match=r"the proxy .* for endpoint.invalid is no HTTP proxy"):
        asyncio.run(ask("http://endpoint.invalid/v1"))


def test_a_redirect_is_not_followed(endpoint):
    """Neither the key nor the prompt goes where a redirect points."""
    endpoint.answer(then={"status": 307, "headers": {"location": f"{endpoint.base_url}/elsewhere"}})
    said = failure(endpoint)
    assert "the endpoint redirects to another address (307), which is not followed" in said
    assert len(endpoint.requests()) == 1


def test_a_reply_is_read_up_to_a_size_and_never_unpacked(endpoint, monkeypatch):
    monkeypatch.setattr(openai_compatible, "_LARGEST", 1_000_000)
    endpoint.answer(then={"text": "x" * 1_000_001})
    assert "the reply is larger than 1 MB, after 1 retry" in failure(endpoint, max_retries=1)
    endpoint.answer(then={"text": "Hello"})
    complete(endpoint)
    (asked,) = endpoint.requests()
    assert {name.lower(): value for name, value in asked["headers"].items()}["accept-encoding"] == "identity"


def test_a_count_of_tokens_that_cannot_be_is_none(endpoint):
    endpoint.answer(then={"usage": (10**400, 5)})
    (completion,), _ = complete(endpoint)
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (0, 5)

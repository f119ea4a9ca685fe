"""Where a webhook may send to, and what it does with answers that mean no good."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from email.utils import formatdate
from pathlib import Path

import pytest

from auth.sealing import Sealer
from lineal.errors import InvalidArgument, PreconditionFailed
from resolvers.webhooks.managing import checked_url
from resolvers.webhooks.sending import Sender
from resolvers.webhooks.signing import checked_secret, headers, new_secret
from tests.webhooks.receiver import Answer, Got, Receiver, fine


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org/a?b=c",
        "https://hooks.example.org:8443/",
        "https://93.184.216.34/x",
        "https://[2606:2800:220:1:248:1893:25c8:1946]/x",
    ],
)
def test_public_https_is_taken(url: str) -> None:
    assert checked_url(url, private=False) == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "hooks.example.org", "http://hooks.example.org/", "ftp://hooks.example.org/", "https:///x", "https://"),
        *("https://user@hooks.example.org/", "https://u:p@hooks.example.org/", "https://hooks.example.org/#x"),
        *(
            "https://127.0.0.1/",
            "https://10.0.0.1/",
            "https://169.254.169.254/latest",
            "https://[::1]/",
            "https://[fe80::1]/",
        ),
        *("https://[::ffff:127.0.0.1]/", "https://0.0.0.0/", "https://2130706433\\@x/", "https://ex ample.org/"),
        *(
            "https://hooks.example.org:99999/",
            "https://hooks.example.org:0/",
            "https://höoks.example.org/",
            "https://[x/",
        ),
        f"https://hooks.example.org/{'x' * 2_000}",
    ],
)
def test_anything_else_is_refused_with_the_field(url: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        checked_url(url, private=False)
    assert refused.value.field == "url"


def test_a_setting_lets_it_be_private_but_never_where_clouds_keep_credentials() -> None:
    assert checked_url("http://127.0.0.1:8000/hook", private=True)
    assert checked_url("https://10.0.0.1/hook", private=True)
    with pytest.raises(InvalidArgument):
        checked_url("https://169.254.169.254/latest/meta-data", private=True)


async def test_a_name_that_leads_inwards_is_not_connected_to(receiver: Receiver) -> None:
    async with Sender(resolve=lambda _: ["127.0.0.1"], seconds=2) as sender:
        answer = await sender.post(f"http://inside.example.org:{receiver.port}/", b"{}", {})
    assert answer.status is None
    assert "may not connect to" in answer.error
    assert receiver.got == []


async def test_one_bad_address_condemns_a_name_that_has_good_ones_too(receiver: Receiver) -> None:
    async with Sender(resolve=lambda _: ["93.184.216.34", "10.0.0.1"], seconds=2) as sender:
        answer = await sender.post("http://mixed.example.org/", b"{}", {})
    assert "may not connect to" in answer.error


async def test_a_name_that_leads_elsewhere_the_second_time_gains_nothing(receiver: Receiver) -> None:
    """DNS rebinding: each connection goes to the address that was judged for it, and the name is not asked again."""
    asked: list[str] = []

    def rebinding(host: str) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    async with Sender(private=True, resolve=rebinding, seconds=2) as sender:
        first = await sender.post(f"http://rebinding.example.org:{receiver.port}/", b"{}", {})
        assert (first.status, len(asked)) == (200, 1)
        receiver.respond = _close
        await sender.post(f"http://rebinding.example.org:{receiver.port}/", b"{}", {})
        last = await sender.post(f"http://rebinding.example.org:{receiver.port}/", b"{}", {})
    assert "may not connect to" in last.error


async def _close(_got: Got) -> Answer | None:
    return None


async def test_redirects_are_not_followed(receiver: Receiver) -> None:
    async with Receiver() as inside:

        async def redirect(_got: Got) -> Answer | None:
            return 307, {"location": inside.url}, b""

        receiver.respond = redirect
        async with Sender(private=True, seconds=2) as sender:
            answer = await sender.post(receiver.url, b"{}", {})
        assert (answer.status, answer.taken) == (307, False)
        assert "redirects" in answer.error
        assert inside.got == []


async def test_no_proxy_of_the_environment_is_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Receiver() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with Sender(private=True, seconds=2) as sender:
            assert (await sender.post(receiver.url, b"{}", {})).taken
        assert proxy.got == []


async def test_an_answer_that_drips_is_cut_off_in_time(receiver: Receiver) -> None:
    async def drip(_got: Got) -> Answer | None:
        await asyncio.sleep(60)
        return await fine(_got)

    receiver.respond = drip
    async with Sender(private=True, seconds=0.3) as sender:
        began = time.monotonic()
        answer = await sender.post(receiver.url, b"{}", {})
    assert answer.error == "no answer within 0.3 seconds"
    assert time.monotonic() - began < 10


async def test_a_resolver_that_hangs_takes_one_thread_and_delays_nobody_else(receiver: Receiver) -> None:
    asked, let_go = list[str](), threading.Event()

    def hanging(host: str) -> Sequence[str]:
        asked.append(host)
        if host != "quick.example.org":
            let_go.wait(60)
        return ["127.0.0.1"]

    async with Sender(private=True, resolve=hanging, seconds=20) as sender:
        slow = [sender.post(f"http://slow.example.org:{receiver.port}/", b"{}", {}) for _ in range(70)]
        waiting = asyncio.gather(*slow)
        quick = await sender.post(f"http://quick.example.org:{receiver.port}/", b"{}", {})
        assert quick.taken
        assert not waiting.done()
        let_go.set()
        assert all(answer.taken for answer in await waiting)
    assert sorted(asked) == ["quick.example.org", "slow.example.org"]


@pytest.mark.parametrize(
    ("told", "least", "most"), [("7", 7, 7), ("soon", 0, 0), ("-3", 0, 0), ("9" * 30, 3_600, 3_600)]
)
async def test_how_long_to_wait_is_read_and_bounded(receiver: Receiver, told: str, least: float, most: float) -> None:
    async def busy(_got: Got) -> Answer | None:
        return 503, {"retry-after": told}, b""

    receiver.respond = busy
    async with Sender(private=True, seconds=2) as sender:
        answer = await sender.post(receiver.url, b"{}", {})
    assert least <= answer.retry_after <= most


async def test_a_date_to_wait_for_is_read_too(receiver: Receiver) -> None:
    async def busy(_got: Got) -> Answer | None:
        return 503, {"retry-after": formatdate(time.time() + 100, usegmt=True)}, b""

    receiver.respond = busy
    async with Sender(private=True, seconds=2) as sender:
        assert 90 < (await sender.post(receiver.url, b"{}", {})).retry_after <= 100


async def test_what_nobody_listens_for_is_told(receiver: Receiver) -> None:
    await receiver.die()
    async with Sender(private=True, seconds=2) as sender:
        assert "ConnectError" in (await sender.post(receiver.url, b"{}", {})).error


def test_certificates_that_are_none_are_refused_when_it_starts(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(InvalidArgument, match="webhook_ca"):
        Sender(ca=tmp_path / "ca.pem")


# Secrets ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_sealed_secret_opens_with_its_key_and_for_its_webhook_only() -> None:
    sealer = Sealer(b"k" * 32)
    sealed = sealer.seal("whsec_x", "wh_1")
    assert "whsec_x" not in sealed
    assert sealer.open(sealed, "wh_1") == "whsec_x"
    for other, about, text in ((sealer, "wh_2", sealed), (Sealer(b"o" * 32), "wh_1", sealed), (sealer, "wh_1", "x")):
        with pytest.raises(PreconditionFailed):
            other.open(text, about)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!", "plain", "whsec_" + "A" * 200])
def test_a_weak_secret_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        checked_secret(secret, "CLOUDEVENTS")
    assert not secret or secret == "whsec_" or secret not in refused.value.message


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of https://www.standardwebhooks.com."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = headers("CLOUDEVENTS", [secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_secret_changes_there_are_two_signatures_and_mlflow_has_one() -> None:
    old, new = new_secret(), new_secret()
    assert len(headers("CLOUDEVENTS", [new, old], "id", 1, b"x")["webhook-signature"].split(" ")) == 2
    assert " " not in headers("MLFLOW", ["a", "b"], "id", 1, b"x")["X-MLflow-Signature"]
    assert "X-MLflow-Signature" not in headers("MLFLOW", [], "id", 1, b"x")

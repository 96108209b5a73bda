"""The dashboard's routes over a real socket: who gets the figures, what the page may do, and what they say."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from qwencoder_lsp.gateway.protocol import ListenRequest
from qwencoder_lsp.paths import history_file
from tests.protocol.fronts import front
from tests.protocol.gateways import collect, fill


async def test_the_page_runs_its_own_script_and_style_and_asks_its_own_service_alone(script: Any) -> None:
    async with front() as f:
        page = await f.http.get("/dashboard")
    policy = page.headers["content-security-policy"]
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page.text)
    assert "innerHTML" not in page.text
    assert "{{" not in page.text


async def test_the_figures_say_what_is_loaded_and_what_was_computed(script: Any) -> None:
    script(default="x")
    async with front() as f:
        before = (await f.http.get("/dashboard/data")).json()
        await collect(f.private.complete(fill("x")))
        after = (await f.http.get("/dashboard/data", params={"period": "hour"})).json()
    assert (before["models"], before["running"], before["history"]["runs"], before["period"]) == ([], [], 0, "day")
    assert (after["models"][0]["state"], after["history"]["runs"], after["history_problem"], after["history_on_disk"]) == ("ready", 1, "", True)
    assert after["models"][0]["resident_bytes"] > 1 << 20
    assert after["history"]["tokens"]["prompt"] > 0
    assert len(after["history"]["line"]) == 60


async def test_without_the_key_there_is_a_page_but_no_figures(script: Any) -> None:
    async with front(ListenRequest("127.0.0.1", 0, ("the-key",))) as f:
        assert (await f.http.get("/dashboard")).status_code == 200
        assert (await f.http.get("/dashboard/data")).status_code == 401
        assert (await f.http.get("/dashboard/data", headers={"Authorization": "Bearer wrong"})).status_code == 401
        assert (await f.http.get("/dashboard/data", headers={"Authorization": "Bearer the-key"})).status_code == 200
        assert (await f.http.get("/dashboard", headers={"Host": "evil.example"})).status_code == 403


async def test_an_unknown_period_is_refused_with_its_name(script: Any) -> None:
    async with front() as f:
        refused = await f.http.get("/dashboard/data", params={"period": "year"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "period")


async def test_what_runs_is_listed_without_its_text(script: Any) -> None:
    script(default="x" * 1000, token_ms=50)
    async with front() as f:
        stream = await f.client.completions.create(model="auto", prompt="secret_text", max_tokens=500, stream=True)
        await anext(stream)
        reply = await f.http.get("/dashboard/data")
        await stream.close()
    (running,) = reply.json()["running"]
    assert (running["model"], running["work"], running["prompt"]) == ("scripted", "CHAT", len("secret_text"))
    assert running["generated"] >= 1
    assert "secret_text" not in reply.text


async def test_when_the_history_cannot_be_kept_on_disk_the_figures_say_so_and_everything_works(script: Any) -> None:
    script(default="x")
    history_file().mkdir(parents=True)
    async with front() as f:
        await f.client.completions.create(model="auto", prompt="x")
        found = (await f.http.get("/dashboard/data")).json()
    assert "cannot be opened" in found["history_problem"]
    assert found["history"]["runs"] == 1

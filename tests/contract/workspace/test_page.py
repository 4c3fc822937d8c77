"""The page's files: every one that another refers to is served, and nothing comes from elsewhere."""

import re

import httpx

from bot.workspace import RunningWorkspace

_REFERENCE = re.compile(r"""(?:from|import|src=|href=)\s*["'](/page/[^"']+)["']""")


async def test_every_file_that_the_page_needs_is_served(running: RunningWorkspace) -> None:
    async with httpx.AsyncClient(base_url=running.url, trust_env=False) as web:
        index = (await web.get("/")).text
        wanted, seen = set(_REFERENCE.findall(index)), set[str]()
        while wanted - seen:
            path = (wanted - seen).pop()
            seen.add(path)
            response = await web.get(path)
            assert response.status_code == 200, path
            if path.endswith(".js"):
                assert response.headers["content-type"].startswith("text/javascript")
                wanted |= set(_REFERENCE.findall(response.text))
    assert {"/page/main.js", "/page/blocks.js", "/page/mrkdwn.js", "/page/style.css"} <= seen
    assert "https://" not in index
    assert " style=" not in index


async def test_a_permalink_opens_the_page_at_the_message(running: RunningWorkspace) -> None:
    said = running.people.say("releases", "mira", "hello")
    address = f"/archives/CRELEASES/p{said.ts.replace('.', '')}"
    async with httpx.AsyncClient(base_url=running.url, trust_env=False) as web:
        response = await web.get(address)
    assert response.status_code == 307
    assert response.headers["location"] == f"/#/CRELEASES/{said.ts}"

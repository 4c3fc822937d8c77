import httpx

from tests.unit.demo.conftest import VISIT, OpenShop


async def _pay(shop: OpenShop, times: int) -> list[int]:
    return [
        (await shop.client.post("/checkout", json={**VISIT, "session": f"s-{number}"})).status_code
        for number in range(times)
    ]


async def test_every_request_asks_for_its_flag_with_tenant_and_region(shop: OpenShop) -> None:
    shop.answers.variant = "express"
    page = await shop.client.get("/checkout", params=VISIT)
    await shop.client.post("/checkout", json=VISIT)

    assert page.json()["checkout"] == "express"
    assert [(one.targeting_key, dict(one.attributes)) for one in shop.answers.contexts] == [
        ("customer-1", {"tenant": "acme", "region": "eu-west"})
    ] * 2


async def test_a_request_leaves_one_row(shop: OpenShop) -> None:
    await shop.client.get("/checkout", params=VISIT)

    (row,) = await shop.rows()
    assert row["at"] > 1_600_000_000
    assert row["latency_ms"] > 0
    assert {name: row[name] for name in row if name not in ("at", "latency_ms")} == {
        "step": "open",
        "session": "s-1",
        "flag": "new-checkout",
        "environment": "production",
        "variant": "classic",
        "shadow": 0,
        "customer": "customer-1",
        "tenant": "acme",
        "region": "eu-west",
        "status": 200,
        "flag_error": None,
    }


async def test_a_changed_flag_is_seen_by_the_next_request(shop: OpenShop) -> None:
    for variant in ("classic", "express", "classic"):
        shop.answers.variant = variant
        assert (await shop.client.get("/checkout", params=VISIT)).json()["checkout"] == variant


async def test_some_cards_are_declined_on_both_paths(shop: OpenShop) -> None:
    for variant in ("classic", "express"):
        shop.answers.variant = variant
        statuses = await _pay(shop, 400)
        assert set(statuses) == {200, 402}
        assert 0.04 < statuses.count(402) / 400 < 0.13


async def test_the_fault_breaks_payments_of_the_new_path_only(shop: OpenShop) -> None:
    assert (await shop.client.post("/fault", json={"on": True})).json() == {"on": True}
    assert 502 not in await _pay(shop, 100)

    shop.answers.variant = "express"
    assert (await shop.client.get("/checkout", params=VISIT)).status_code == 200
    assert 0.5 < (await _pay(shop, 300)).count(502) / 300 < 0.7

    await shop.client.post("/fault", json={"on": False})
    assert 502 not in await _pay(shop, 100)


async def test_without_the_flag_service_control_is_served_and_the_row_says_why(shop: OpenShop) -> None:
    shop.answers.variant, shop.answers.error = "express", "nobody there"

    assert (await shop.client.get("/checkout", params=VISIT)).json()["checkout"] == "classic"
    (row,) = await shop.rows()
    assert (row["variant"], row["flag_error"]) == ("classic", "GENERAL: nobody there")


async def test_a_variant_that_the_shop_does_not_have_is_an_error_of_the_flag(shop: OpenShop) -> None:
    shop.answers.variant = "surprise"

    assert (await shop.client.get("/checkout", params=VISIT)).json()["checkout"] == "classic"
    (row,) = await shop.rows()
    assert (row["variant"], row["flag_error"]) == ("classic", "unknown variant 'surprise'")


async def test_in_shadow_both_paths_run_and_control_answers(shop: OpenShop) -> None:
    shop.answers.shadow = "express"
    await shop.client.post("/fault", json={"on": True})

    assert 502 not in await _pay(shop, 50)
    rows = await shop.rows()
    assert sorted({(row["variant"], row["shadow"]) for row in rows}) == [("classic", 0), ("express", 1)]
    assert [row["status"] for row in rows if row["shadow"]].count(502) > 10
    assert (await shop.client.get("/health")).json()["requests"] == 50


async def test_health_tells_requests_and_fault(shop: OpenShop) -> None:
    await shop.client.get("/checkout", params=VISIT)
    answer = await shop.client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"healthy": True, "requests": 1, "fault": False})


async def test_what_is_no_visit_is_refused_and_leaves_no_row(shop: OpenShop) -> None:
    refused = [
        await shop.client.get("/checkout", params={"customer": "c"}),
        await shop.client.post("/checkout", json={**VISIT, "customer": "c" * 61}),
        await shop.client.post("/checkout", content=b"no json"),
        await shop.client.post("/fault", json={"on": "perhaps"}),
    ]
    assert [answer.status_code for answer in refused] == [422] * 4
    assert "customer" in refused[1].json()["error"]
    assert await shop.rows() == []


async def test_another_sites_page_cannot_switch_the_fault(shop: OpenShop) -> None:
    answer = await shop.client.post("/fault", json={"on": True}, headers={"Origin": "http://elsewhere.example"})
    assert answer.status_code == 403
    assert (await shop.client.get("/health")).json()["fault"] is False


async def test_rows_are_complete_when_telemetry_ends(shop: OpenShop) -> None:
    await _pay(shop, 30)
    await shop.telemetry.flush()
    assert len(await shop.rows()) == 30


async def test_a_body_that_is_too_large_is_refused(shop: OpenShop) -> None:
    answer: httpx.Response = await shop.client.post("/checkout", content=b"x" * 5000)
    assert answer.status_code == 413

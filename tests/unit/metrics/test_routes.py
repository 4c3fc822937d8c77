"""One metric a route: named by it, and with nothing in its query that the settings do not say."""

from collections.abc import Mapping

import pytest

from tools.metrics.catalogue import BadDefinition, Catalogue, MetricDefinition
from tools.metrics.routes import each_route, same_route


def template(*routes: str, query: str | Mapping[str, str] = "SELECT '$route' -- :start :end") -> MetricDefinition:
    return MetricDefinition.model_validate(
        {"name": "errors", "source": "shop", "title": "Errors", "query": query, "routes": routes}
    )


def test_a_template_is_one_metric_a_route() -> None:
    found = Catalogue(each_route([template("POST /checkout", "GET /cart/{id}")]))
    assert [(one.name, one.route) for one in found] == [
        ("errors.post_checkout", "POST /checkout"),
        ("errors.get_cart_id", "GET /cart/{id}"),
    ]
    first = found.get("errors.post_checkout")
    assert first.query == "SELECT 'POST /checkout' -- :start :end"
    assert first.title == "Errors (POST /checkout)"
    assert first.routes == ()


def test_a_query_of_several_texts_has_the_route_in_each() -> None:
    query = {"exposures": 'r{method="$method", path="$path", flag="$flag"}', "variant": "v"}
    (found,) = each_route([template("PUT /a", query=query)])
    assert found.query == {"exposures": 'r{method="PUT", path="/a", flag="$flag"}', "variant": "v"}


def test_another_metric_stays_as_it_is() -> None:
    plain = template()
    assert list(each_route([plain])) == [plain]


@pytest.mark.parametrize(
    "route",
    ["/checkout", "post /checkout", "POST checkout", "POST /a b", "POST /a'", 'POST /a"', "POST /a\\", "POST /$x", ""],
)
def test_a_route_that_would_need_escaping_is_refused(route: str) -> None:
    with pytest.raises(BadDefinition, match="written like") as caught:
        list(each_route([template(route)]))
    assert (caught.value.metric, caught.value.field) == ("errors", "routes")


def test_routes_that_no_query_names_are_refused() -> None:
    with pytest.raises(BadDefinition, match=r"\$route"):
        list(each_route([template("GET /a", query="SELECT 1")]))


def test_two_routes_of_one_name_are_refused() -> None:
    with pytest.raises(BadDefinition, match="told apart"):
        list(each_route([template("GET /a-b", "GET /a/b")]))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("GET /cart/{id}", "GET /cart/{cart}", True),
        ("GET /cart/{id}", "GET /cart/id", False),
        ("GET /cart", "POST /cart", False),
    ],
)
def test_what_a_parameter_is_called_does_not_matter(one: str, other: str, same: bool) -> None:
    assert same_route(one, other) is same

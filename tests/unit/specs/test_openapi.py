"""OpenAPI documents as specs: their operations, and which of them changed."""

import json
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tools.canonical import canonical_json
from tools.specs import openapi
from tools.specs.base import InvalidSpec, Spec
from tools.specs.documents import LARGEST_API, document_of, is_readable
from tools.specs.markdown import pick, shelve
from tools.specs.openapi import MOST_OPERATIONS, Change, NotOpenApi, changes, is_marked, read_api

API: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Shop", "version": "1", "description": "What the shop does."},
    "x-sluice": {"flag": "new-checkout", "owner": "payments", "tags": ["revenue-critical"]},
    "paths": {
        "/checkout": {
            "parameters": [{"name": "tenant", "in": "header", "schema": {"type": "string"}}],
            "post": {
                "summary": "Pay",
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}},
                "responses": {"200": {"description": "paid"}},
            },
            "get": {"responses": {"200": {"description": "the page"}}},
        },
        "/cart/{id}": {"delete": {"responses": {"204": {"description": "gone"}}}},
    },
    "components": {
        "schemas": {
            "Order": {"type": "object", "properties": {"line": {"$ref": "#/components/schemas/Line"}}},
            "Line": {
                "type": "object",
                "properties": {"order": {"$ref": "#/components/schemas/Order"}, "description": {"type": "string"}},
            },
        }
    },
}
FROZEN_S = 20.0
"""Of processor time; what grows with the square of these texts takes minutes."""
BASE_60 = "1" + ":59" * 300 + ".5"
ROUTES = {"POST /checkout", "GET /checkout", "DELETE /cart/{id}"}


def operations(api: dict[str, Any]) -> dict[str, str]:
    found = read_api(json.dumps(api))
    assert found is not None
    return dict(found.operations)


def changed(path: str, value: object) -> dict[str, Change]:
    """What changes when the value at that path does."""
    return changes(operations(API), operations(with_value(path, value)))


def test_json_and_yaml_say_the_same() -> None:
    assert operations(API).keys() == ROUTES
    as_yaml = read_api(yaml.safe_dump(API))
    assert as_yaml is not None
    assert dict(as_yaml.operations) == operations(API)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("paths>/checkout>post>deprecated", True, {"POST /checkout"}),
        (
            "paths>/checkout>get>responses",
            {"200": {"description": "x"}, "404": {"description": "y"}},
            {"GET /checkout"},
        ),
        ("paths>/checkout>parameters", [], {"POST /checkout", "GET /checkout"}),
        ("components>schemas>Order>required", ["line"], {"POST /checkout"}),
        ("components>schemas>Line>type", "string", {"POST /checkout"}),
        ("components>schemas>Line>properties>description", {"type": "integer"}, {"POST /checkout"}),
        ("security", [{"key": []}], ROUTES),
    ],
)
def test_what_a_client_may_notice_is_a_change(path: str, value: object, expected: set[str]) -> None:
    assert changed(path, value) == dict.fromkeys(expected, Change.CHANGED)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("paths>/checkout>post>summary", "Pay now"),
        ("paths>/checkout>post>description", "words"),
        ("paths>/checkout>post>tags", ["money"]),
        ("info>description", "other words"),
        ("components>schemas>Order>description", "an order"),
        ("components>schemas>Unused", {"type": "string"}),
    ],
)
def test_words_for_people_are_none(path: str, value: object) -> None:
    assert changed(path, value) == {}


ALL: dict[str, Any] = {
    "openapi": "3.1.0",
    "servers": [{"url": "https://a.example.com/{at}", "variables": {"at": {"default": "v1", "description": "words"}}}],
    "security": [{"key": []}],
    "paths": {
        "/pay": {
            "post": {
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "default": {"description": "a", "tags": ["x"]},
                                "const": {"summary": "a", "$ref": "#/nowhere"},
                                "enum": [{"example": "a"}],
                                "$defs": {"description": {"type": "string"}},
                                "properties": {"properties": {"type": "string", "description": "words"}},
                            }
                        }
                    }
                },
                "responses": {
                    "default": {
                        "description": "words",
                        "headers": {"tags": {"description": "words", "schema": {"type": "string"}}},
                        "links": {"summary": {"operationId": "x", "parameters": {"description": "$request.body"}}},
                    }
                },
                "callbacks": {"description": {"{$request.body#/url}": {"post": {"responses": {"200": {}}}}}},
            },
            "get": {"security": [{"oauth": ["read"]}, {}], "servers": [{"url": "https://get.example.com"}]},
        },
        "/free": {"servers": [{"url": "https://free.example.com"}], "get": {"security": []}},
    },
    "components": {
        "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer", "description": "words"},
            "oauth": {"type": "oauth2", "flows": {"implicit": {"authorizationUrl": "/", "scopes": {"read": "words"}}}},
            "unused": {"type": "http", "scheme": "basic"},
        }
    },
}
SCHEMA = "paths>/pay>post>requestBody>content>application/json>schema"
DEFAULT = "paths>/pay>post>responses>default"
SCHEMES = "components>securitySchemes"
PAY, GET, FREE = "POST /pay", "GET /pay", "GET /free"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (f"{SCHEMES}>key", {"type": "apiKey", "in": "query", "name": "k"}, {PAY}),
        (f"{SCHEMES}>oauth>flows>implicit>authorizationUrl", "/other", {GET}),
        (f"{SCHEMES}>oauth>flows>implicit>scopes", {"write": "words"}, {GET}),
        (f"{SCHEMES}>oauth>flows>implicit>scopes", {"write": "words", "read": "words"}, {GET}),
        (f"{SCHEMES}>oauth>flows>implicit>scopes>read", "other words", set()),
        (f"{SCHEMES}>key>description", "other words", set()),
        (f"{SCHEMES}>unused>scheme", "digest", set()),
        ("servers", [{"url": "https://b.example.com/v1"}], {PAY}),
        ("servers>0>variables>at>default", "v2", {PAY}),
        ("servers>0>variables>at>description", "other words", set()),
        ("servers>0>description", "words", set()),
        ("paths>/free>servers>0>url", "https://other.example.com", {FREE}),
        ("security", [{"unused": []}], {PAY}),
        (f"{SCHEMA}>default>description", "b", {PAY}),
        (f"{SCHEMA}>default>tags", ["y"], {PAY}),
        (f"{SCHEMA}>const>summary", "b", {PAY}),
        (f"{SCHEMA}>enum", [{"example": "b"}], {PAY}),
        (f"{SCHEMA}>$defs>description>type", "integer", {PAY}),
        (f"{SCHEMA}>properties>properties>description", "other words", set()),
        (f"{DEFAULT}>headers>tags>schema>type", "integer", {PAY}),
        (f"{DEFAULT}>headers>tags>description", "other words", set()),
        (f"{DEFAULT}>links>summary>parameters>description", "$request.path", {PAY}),
        (f"{DEFAULT}>description", "other words", set()),
        ("paths>/pay>post>callbacks>description", {}, {PAY}),
    ],
)
def test_names_and_values_of_the_documents_own_are_no_words_for_people(
    path: str, value: object, expected: set[str]
) -> None:
    found = changes(operations(ALL), operations(with_value(path, value, ALL)))
    assert found == dict.fromkeys(expected, Change.CHANGED)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("host", "b.example.com", {PAY, GET}),
        ("basePath", "/v2", {PAY, GET}),
        ("schemes", ["http"], {GET}),
        ("consumes", ["text/plain"], {PAY, GET}),
        ("securityDefinitions", {"key": {"type": "basic"}}, {PAY, GET}),
    ],
)
def test_what_version_2_says_of_all_is_of_each_that_says_nothing_else(
    key: str, value: object, expected: set[str]
) -> None:
    definitions = {"key": {"type": "apiKey", "in": "header", "name": "k"}}
    paths = {"/pay": {"post": {"schemes": ["https"]}, "get": {}}}
    before = {"swagger": "2.0", "security": [{"key": []}], "securityDefinitions": definitions, "paths": paths}
    assert changes(operations(before), operations(before | {key: value})) == dict.fromkeys(expected, Change.CHANGED)


@pytest.mark.parametrize("odd", [None, "x", 1, [], {}, [None], [[]], [{"a": 1}], ["key"], [{1: []}], {"key": []}])
@pytest.mark.parametrize("key", ["security", "servers", "components", "securityDefinitions"])
def test_odd_parts_of_all_keep_no_operation_from_being_read(key: str, odd: object) -> None:
    content = yaml.safe_dump(ALL | {key: odd})
    found = read_api(content)
    assert found is not None
    assert found.operations.keys() == {PAY, GET, FREE}


def test_what_is_new_and_what_is_gone_is_named() -> None:
    after = deepcopy(API)
    del after["paths"]["/cart/{id}"]
    after["paths"]["/pay"] = {"put": {"responses": {}}}
    assert changes(operations(API), operations(after)) == {
        "DELETE /cart/{id}": Change.REMOVED,
        "PUT /pay": Change.ADDED,
    }


def test_a_document_is_the_spec_of_the_flag_that_it_names() -> None:
    document = document_of("api.yaml", yaml.safe_dump(API).encode(), path="api.yaml")
    assert document is not None
    spec = pick("new-checkout", shelve([document]), place="here")
    assert (spec.title, spec.owner, spec.tags) == ("Shop", "payments", ("revenue-critical",))
    assert spec.operations.keys() == ROUTES
    assert "- POST /checkout: Pay" in spec.visible
    assert "What the shop does." in spec.visible
    assert spec.operations["POST /checkout"] in spec.content
    assert spec.operations["POST /checkout"] not in spec.visible


def with_value(path: str, value: object, api: dict[str, Any] = API) -> dict[str, Any]:
    """The API with another value at that path."""
    after = deepcopy(api)
    *steps, last = path.split(">")
    part: Any = after
    for step in steps:
        part = part[int(step) if isinstance(part, list) else step]
    part[last] = value
    return after


def spec_of(*contents: str) -> Spec:
    """The flag's spec of those documents."""
    documents = [document_of(f"{n}.json", content.encode(), path="a.json") for n, content in enumerate(contents)]
    return pick("new-checkout", shelve(one for one in documents if one is not None), place="here")


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(API, indent=4),
        yaml.safe_dump(API),
        json.dumps({key: API[key] for key in reversed(API)}),
        json.dumps(API | {"paths": {path: API["paths"][path] for path in reversed(API["paths"])}}),
        json.dumps(with_value("paths>/checkout>post>description", "Words that no plan is made from.")),
        json.dumps(with_value("info>version", "2")),
    ],
    ids=["indented", "yaml", "keys", "paths", "words", "version"],
)
def test_its_hash_is_the_same_however_it_is_written_and_whatever_nobody_plans_by(content: str) -> None:
    assert spec_of(content).sha256 == spec_of(json.dumps(API)).sha256
    other = json.dumps(API | {"paths": {"/orders": {"get": {}}}})
    assert spec_of(other, content).sha256 == spec_of(json.dumps(API), other).sha256


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("components>schemas>Line>type", "string"),
        ("paths>/checkout>get", None),
        ("x-sluice>tags", []),
        ("x-sluice>owner", "checkout"),
        ("info>title", "Store"),
        ("info>description", "Other words."),
        ("paths>/checkout>post>summary", "Pay now"),
    ],
)
def test_its_hash_is_another_when_a_client_a_gate_or_a_planner_may_notice(path: str, value: object) -> None:
    content = json.dumps(with_value(path, value))
    assert spec_of(content).sha256 != spec_of(json.dumps(API)).sha256
    other = json.dumps(API | {"paths": {"/orders": {"get": {}}}})
    assert spec_of(other, content).sha256 != spec_of(json.dumps(API), other).sha256


def test_a_path_has_servers_of_its_own_and_nothing_else_that_a_document_gives_its_operations() -> None:
    before = with_value("paths>/pay>security", [], ALL)
    after = with_value("security", [{"unused": []}], before)
    assert changes(operations(before), operations(after)) == {PAY: Change.CHANGED}


def test_it_stands_beside_what_people_wrote() -> None:
    api = document_of("api.json", json.dumps(API).encode(), path="api.json")
    words = document_of("a.md", b"---\nflag: new-checkout\n---\n# One page\n", path="a.md")
    assert api is not None
    assert words is not None
    alone = pick("new-checkout", shelve([words]), place="here")
    both = pick("new-checkout", shelve([api, words]), place="here")
    assert (both.title, both.source) == ("One page", "a.md")
    assert both.operations.keys() == ROUTES
    assert both.sha256 != alone.sha256
    with pytest.raises(InvalidSpec, match="more than one"):
        pick("new-checkout", shelve([api, words, words]), place="here")


def operation(value: str) -> str:
    """An API with one operation, which has that value."""
    return f'{{"openapi": "3.1.0", "paths": {{"/a": {{"get": {{"x": {value}}}}}}}}}'


@pytest.mark.parametrize(
    "content", ["a: [", "a: 1\n---\nb: 2\n", "[" * 100_000, "{}", "[]", "a: b", "- 1", '"x"', "", '{"swag": 1}']
)
def test_other_data_is_no_spec(content: str) -> None:
    assert read_api(content) is None
    assert document_of("a.json", content.encode(), path="a.json") is None


LONG = {f"Part{number}": {"type": "string", "description": "words"} for number in range(200)}


@pytest.mark.parametrize("write", [yaml.safe_dump, json.dumps, lambda api: "# made\n---\n" + json.dumps(api)])
@pytest.mark.parametrize("mark", ["openapi", "swagger"])
def test_it_may_say_late_that_it_is_one(write: Callable[[object], str], mark: str) -> None:
    content = write({"components": {"schemas": LONG}, mark: "3.1.0", "paths": {"/a": {"get": {}}}})
    assert content.index(mark) > 4_000
    found = read_api(content)
    assert found is not None
    assert found.operations.keys() == {"GET /a"}


@pytest.mark.parametrize(
    "content",
    [
        'a:\n  openapi: 3.1.0\n  broken: "\n',
        '{"a": {"openapi": "3.1.0"}, "broken": ',
        '{"a": ["openapi", {"swagger": 1}], broken',
        r'{"a": "\"openapi\": ", "broken": ',
        '{"a": "{", "b": {"openapi": 1}, broken',
        '{"a": "x", "b": "openapi", : broken',
        '--- # x\n{"a": {"openapi": 1}, broken',
    ],
)
def test_data_in_which_something_else_is_called_so_is_none(content: str) -> None:
    assert read_api(content) is None


@pytest.mark.parametrize(
    "content",
    [
        "  info: {}\n  openapi: 3.1.0\n",
        "'openapi': 3.1.0\n",
        '# words\n\n"swagger" : "2.0"\n',
        "%YAML 1.1\n---\nopenapi: 3.1.0\n",
        "# made\r\n\r\n---\r\nopenapi: 3.1.0\r\n",
    ],
)
def test_however_yaml_is_written_its_root_says_what_it_is(content: str) -> None:
    assert read_api(content) is not None


@pytest.mark.parametrize("piece", ['"', '"\\', "\\", '{"', "{", "openapi", '"openapi', "\n ", "\n#", "'", "' ", "\n- "])
def test_looking_for_the_mark_takes_no_time(piece: str) -> None:
    for content in (piece * (2**20 // len(piece)), '{"openapi": ' + piece * (2**20 // len(piece))):
        began = time.process_time()
        is_marked(content)
        assert time.process_time() - began < FROZEN_S


def test_data_that_is_none_is_no_spec_however_large_it_is() -> None:
    packages = json.dumps({"packages": {f"node_modules/openapi-{number}": {} for number in range(50_000)}})
    assert len(packages) > LARGEST_API
    for path in ("package-lock.json", "lock.yaml"):
        assert document_of(path, packages.encode(), path=path) is None
    late = '{"packages": ' + packages + ', "openapi": "3.1.0"}'
    document = document_of("a.json", late.encode(), path="a.json")
    assert document is not None
    assert document.problem == "it is data of more than 1 MB"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"openapi": ', "neither JSON nor plain YAML"),
        ("openapi: &a 3\nx: *a\n", "neither JSON nor plain YAML"),
        ("openapi: 3\nopenapi: 4\n", "neither JSON nor plain YAML"),
        ("openapi: " + "[" * 100_000, "neither JSON nor plain YAML"),
        ('{"openapi": "3.1.0", "x-sluice": "new-checkout"}', "must be a table"),
        (f"openapi: 3.1.0\nx: {BASE_60}\n", "neither JSON nor plain YAML"),
        ('{"openapi": "3.1.0", "x": ' + "[" * 101 + "]" * 101 + "}", "more than 100 levels"),
        (operation('{"a": ' * 900 + "1" + "}" * 900), "more than 100 levels"),
        (operation('{"maximum": 1e400}'), "a number that is none in JSON"),
        (operation('{"maximum": NaN}'), "a number that is none in JSON"),
        ("openapi: 3.1.0\npaths: {/a: {get: {maximum: .inf}}}\n", "a number that is none in JSON"),
        (operation('"\\ud800"'), "half a surrogate pair"),
    ],
    ids=range(12),
)
def test_what_can_not_be_understood_is_said(content: str, said: str) -> None:
    with pytest.raises(NotOpenApi, match=said):
        read_api(content)
    document = document_of("a.json", content.encode(), path="a.json")
    assert document is not None
    assert document.problem is not None
    assert "a.json" in shelve([document]).broken[0]


def referring(to: str) -> dict[str, Any]:
    return {"get": {"x": {"$ref": f"#/components/schemas/{to}"}}}


def with_parts(paths: dict[str, Any], parts: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"openapi": "3.1.0", "paths": paths, "components": {"schemas": parts}, **more}


CIRCLE = {
    f"Part{number}": {"a": {"$ref": f"#/components/schemas/Part{(number + 1) % 9_000}"}} for number in range(9_000)
}
LARGE = [
    with_parts({f"/{n}": referring("Order") for n in range(1_000)}, {"Order": {"enum": ["x" * 100] * 5_000}}),
    with_parts({f"/{n}": referring(f"Part{n}") for n in range(1_000)}, CIRCLE),
    with_parts({f"/{n}": referring(f"Part{n * 8}") for n in range(1_000)}, CIRCLE | {"Part8999": {"type": "string"}}),
    with_parts({f"/{n}": {"get": {}} for n in range(1_000)}, {}, security=[{"x" * 100: []}] * 5_000),
]


@pytest.mark.parametrize("api", LARGE, ids=["shared", "circle", "chain", "security"])
def test_what_operations_share_is_hashed_once(api: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = list[int]()

    def counted(value: object) -> str:
        text = canonical_json(value)
        hashed.append(len(text))
        return text

    content = json.dumps(api)
    assert len(content) <= LARGEST_API
    monkeypatch.setattr(openapi, "canonical_json", counted)
    began = time.process_time()
    assert len(operations(api)) == 1_000
    assert time.process_time() - began < FROZEN_S
    assert sum(hashed) < 8 * len(content)


@given(st.data())
def test_an_operation_changes_when_and_only_when_what_it_reaches_does(data: st.DataObject) -> None:
    names = [str(number) for number in range(6)]
    refs = {name: data.draw(st.lists(st.sampled_from(names), max_size=3)) for name in names}
    touched = data.draw(st.sampled_from(names))

    def at(value: int) -> dict[str, str]:
        parts = {
            name: {
                "v": value if name == touched else 0,
                "allOf": [{"$ref": f"#/components/schemas/{to}"} for to in to_all],
            }
            for name, to_all in refs.items()
        }
        return operations(with_parts({f"/{name}": referring(name) for name in names}, parts))

    reach = {name: {name} for name in names}
    for _ in names:
        reach = {name: found.union(*(refs[one] for one in found)) for name, found in reach.items()}
    assert set(changes(at(0), at(1))) == {f"GET /{name}" for name in names if touched in reach[name]}


@pytest.mark.parametrize("index", ["1", "9" * 5_000, "٣", "-1", "²"])
def test_a_reference_to_nothing_stands_for_nothing(index: str) -> None:
    def referring(to: str) -> dict[str, str]:
        return operations({"openapi": "3.1.0", "x": [1], "paths": {"/a": {"get": {"parameters": {"$ref": to}}}}})

    assert referring(f"#/x/{index}").keys() == {"GET /a"}
    assert referring("#/x/0") != referring("#/x/1")


def test_a_title_that_is_no_text_is_a_problem_of_its_document() -> None:
    content = '{"openapi": "3.1.0", "info": {"title": "a", "description": "\\ud800"}, "paths": {}}'
    document = document_of("a.json", content.encode(), path="a.json")
    assert document is not None
    assert document.problem == "it can't be understood (UnicodeEncodeError)"


def test_a_document_without_bound_is_refused() -> None:
    many = {"openapi": "3.1.0", "paths": {f"/{number}": {"get": {}} for number in range(MOST_OPERATIONS + 1)}}
    with pytest.raises(NotOpenApi, match="operations"):
        read_api(json.dumps(many))
    large = {"openapi": "3.1.0", "paths": {"/a": {"get": {"x": [[0] * 1000] * 300}}}}
    with pytest.raises(NotOpenApi, match="larger"):
        read_api(json.dumps(large))


@pytest.mark.parametrize("paths", [None, [], {"/a": None}, {"/a": {"get": "x"}}, {1: {"get": {}}}])
def test_odd_paths_have_no_operations(paths: object) -> None:
    found = read_api(yaml.safe_dump({"openapi": "3.1.0", "paths": paths}))
    assert found is not None
    assert found.operations == {}


@pytest.mark.parametrize(
    ("path", "readable"),
    [("a.md", True), ("a/b.YAML", True), ("a.html", True), (".a.md", False), ("a/.b/c.md", False), ("a.py", False)],
)
def test_which_files_may_be_specs(path: str, readable: bool) -> None:
    assert is_readable(path) is readable


def test_a_document_that_is_too_large_is_not_parsed() -> None:
    document = document_of("a", b"openapi: 3.1.0\n#" + b"x" * 2**20, media_type="application/yaml")
    assert document is not None
    assert document.problem == "it is data of more than 1 MB"

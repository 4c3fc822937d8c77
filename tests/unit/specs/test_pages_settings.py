"""Settings of pages that would do something else than whoever wrote them thinks."""

from pathlib import Path
from typing import Any

import pytest

from tools.specs.options import BadSpecSource, SpecSourceOptions
from tools.specs.registry import create_spec_source

PAGES = {"type": "https", "pages": ["https://specs.example.com/checkout"]}


@pytest.mark.parametrize("token", [{"token": "planted-secret"}, {"token_file": Path("planted-secret")}])
def test_a_token_that_would_be_sent_nowhere_is_refused(token: dict[str, Any]) -> None:
    with pytest.raises(BadSpecSource, match="is sent to the source's url alone") as caught:
        create_spec_source(SpecSourceOptions.model_validate(PAGES | token))
    assert (caught.value.field, "planted" in str(caught.value)) == ("url", False)
    create_spec_source(SpecSourceOptions.model_validate(PAGES | token | {"url": "https://specs.example.com"}))

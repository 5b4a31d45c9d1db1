"""The JavaScript of the documentation does what it says, with the `fetch` of Node.js."""

import json
import subprocess
from typing import Any

import pytest

from tests.conftest import Server
from tests.docs.pages import ACTIONS, API, examples

pytestmark = pytest.mark.node


@pytest.fixture
def evaluate(development_server: Server, notes: str, mail: str) -> Any:
    """The value of an expression, in which each page's function, and the tokens `notes` and `mail`, are at hand."""
    pages = [API / f"{name}.md" for name in [*ACTIONS, "storages"]]
    code = "\n".join(text for page in pages for text in examples(page, "javascript", development_server.url))

    def evaluate(expression: str) -> Any:
        script = f"""{code}
            const [notes, mail] = {json.dumps([notes, mail])};
            const value = await ({expression}).catch((error) => error.message);
            console.log(JSON.stringify(value instanceof Map ? [...value] : value ?? null));
        """
        node = ["node", "--input-type=module", "--eval", script]
        done = subprocess.run(node, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return evaluate


def test_values_are_set_got_listed_and_deleted(evaluate: Any, stored: Any) -> None:
    assert evaluate("setValue(notes, 'notes-theme', 'dark')") is None
    assert stored.get().value == "dark"

    assert evaluate("getValues(notes, ['notes-font', 'notes-theme'])") == [["notes-theme", "dark"]]
    assert evaluate("listKeys(notes)") == {"privateKeys": ["notes-theme"], "publicKeys": []}
    assert evaluate("deleteKeys(notes, ['notes-font', 'notes-theme'])") == ["notes-theme"]
    assert evaluate("listKeys(notes)") == {"privateKeys": [], "publicKeys": []}
    assert not stored.exists()


def test_shared_keys_are_listed_page_by_page_and_read(evaluate: Any, stored: Any) -> None:
    evaluate("(async () => { for (let n = 0; n < 5; n++) await setValue(mail, `mail/${n}`, `${n}`); })()")
    stored.update(access_scope=1)

    assert evaluate("listSharedKeys(notes, 2)") == [f"mail/mail/{n}" for n in range(5)]
    assert evaluate("listSharedKeys(mail)") == []
    assert evaluate("readShared(notes, 'mail', 'mail/3')") == "3"
    assert evaluate("readShared(notes, 'ma/il', 'mail/3')") is None


@pytest.mark.parametrize(
    "call", ["setValue(t, 'k', 'v')", "getValues(t, ['k'])", "listKeys(t)", "listSharedKeys(t)", "deleteKeys(t, ['k'])"]
)
def test_a_failure_says_why(evaluate: Any, stored: Any, call: str) -> None:
    assert evaluate(f"((t) => {call})('no-token')") == "result -1: The token is not a signed JWT."

    assert not stored.exists()

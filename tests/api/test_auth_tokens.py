"""Tokens: the lines of the file, how it is edited, and that a running server follows it."""

import errno
import hmac
import os
import stat
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.api.auth import token_file
from svcdns.api.auth.token_file import TokenFile, add, read, remove
from svcdns.api.auth.token_lines import TokenError, digest_of, made, new_token, parse
from svcdns.config.sections import ROLES
from svcdns.system import watched_file

HASH = "sha256:" + "0" * 64


def token_in(path: Path, name: str, role: str = "view", *namespaces: str) -> str:
    token = new_token()
    add(path, made(token, name, role, namespaces))
    return token


def test_a_token_is_found_by_its_text_and_the_file_does_not_hold_it(tmp_path):
    path = tmp_path / "tokens"
    token = token_in(path, "ci", "edit", "shop", "bank")
    found = TokenFile(path).find(digest_of(token.encode()))
    assert (found.name, found.role, found.namespaces) == ("ci", "edit", ("shop", "bank"))
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) >= 43 and token != new_token()


@given(st.sampled_from(ROLES), st.lists(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), max_size=3))
def test_a_line_says_what_it_was_made_of(role, namespaces):
    token = made(new_token(), "a.b@c-d", role, namespaces)
    assert parse(token.line()) == ([token], [])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ci edit shop", "3 words; allowed: sha256:HEX NAME ROLE NAMESPACES"),
        (f"{HASH} ci edit shop bank", "5 words; allowed"),
        ("secret ci edit shop", "does not begin with a hash; allowed: sha256: and 64 hexadecimal digits"),
        (f"{HASH[:-1]} ci edit shop", "does not begin with a hash"),
        (f"{HASH.upper()} ci edit shop", "does not begin with a hash"),
        (f"{HASH} -ci edit shop", "name '-ci' can't be; allowed: 1 to 63 letters, digits and inner . _ @ -"),
        (f"{HASH} {'c' * 64} edit shop", "can't be; allowed: 1 to 63"),
        (f"{HASH} system:masters edit shop", "name 'system:masters' can't be"),
        (f"{HASH} ci owner shop", "role 'owner' is not known; allowed: view, node, edit, admin"),
        (f"{HASH} ci edit Shop", "'Shop' is no namespace; allowed: 1 to 63 lower-case letters"),
        (f"{HASH} ci edit shop,", "'' is no namespace"),
        (f"{HASH} ci edit *,shop", "'*' is no namespace"),
    ],
)
def test_a_mistake_names_the_line_and_grants_nothing(line, expected):
    good = made("x", "ok", "view", ()).line()
    tokens, mistakes = parse(f"# a comment\n\n{line}\n{good}")
    assert [token.name for token in tokens] == ["ok"]
    assert len(mistakes) == 1
    assert mistakes[0].startswith("line 3: ")
    assert expected in mistakes[0]
    assert "secret" not in mistakes[0]


def test_a_name_or_a_hash_twice_is_a_mistake():
    one, other = made("x", "a", "view", ()), made("y", "b", "view", ())
    _, mistakes = parse(one.line() + one.line() + other.line().replace(" b ", " a "))
    assert [mistake.partition(":")[0] for mistake in mistakes] == ["line 2", "line 3"]


@given(st.text(max_size=200))
def test_any_text_is_parsed(text):
    tokens, _ = parse(text)
    assert all(token.role in ROLES for token in tokens)


def test_an_edit_keeps_comments_mode_and_other_lines(tmp_path):
    path = tmp_path / "tokens"
    path.write_bytes(b"# ours\r\n\n# theirs")
    path.chmod(0o640)
    token_in(path, "a")
    token_in(path, "b", "admin")
    remove(path, "a")
    assert path.read_bytes().startswith(b"# ours\r\n\n# theirs\n")
    assert [token.name for token in read(path)[0]] == ["b"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["tokens"]


def test_edits_that_can_not_be(tmp_path):
    path = tmp_path / "tokens"
    token_in(path, "a")
    with pytest.raises(TokenError, match="there is a token 'a' already"):
        token_in(path, "a")
    with pytest.raises(TokenError, match="there is no token 'b'"):
        remove(path, "b")
    with pytest.raises(TokenError, match="no such file"):
        remove(tmp_path / "nosuch", "b")
    with pytest.raises(TokenError, match="can't be written: no such file or directory"):
        token_in(tmp_path / "no" / "such", "a")
    with pytest.raises(TokenError, match="is a directory"):
        token_in(tmp_path, "a")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(TokenError, match="is not UTF-8 text"):
        token_in(path, "b")
    path.write_bytes(b"#" * (1 << 20) + b"#")
    with pytest.raises(TokenError, match="is larger than"):
        read(path)


def test_edits_at_the_same_time_lose_nothing(tmp_path):
    path = tmp_path / "tokens"
    names = [f"n{number}" for number in range(24)]
    threads = [threading.Thread(target=token_in, args=(path, name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(token.name for token in read(path)[0]) == sorted(names)


def test_a_change_counts_at_once_even_within_one_tick_of_the_clock(tmp_path, monkeypatch):
    path = tmp_path / "tokens"
    lines = {text: made(text, "n", "view", ()).line() for text in ("one", "two")}
    tick = (1, 1, 1, time.time_ns(), 0)
    monkeypatch.setattr(watched_file, "signature", lambda _: tick)  # same inode, same size, same time stamp
    tokens = TokenFile(path)
    for shown, hidden in (("one", "two"), ("two", "one")):
        path.write_text(lines[shown])
        assert tokens.find(digest_of(shown.encode()))
        assert not tokens.find(digest_of(hidden.encode()))


def test_a_settled_file_is_read_once(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("")
    os.utime(path, (1, 1))
    tokens = TokenFile(path)
    for _ in range(3):
        tokens.find(b"")
    assert tokens.reads == 1


def test_a_file_that_is_gone_or_unreadable_grants_nothing(tmp_path, caplog):
    path = tmp_path / "tokens"
    digest = digest_of(token_in(path, "ci").encode())
    tokens = TokenFile(path)
    assert tokens.find(digest)
    kept = path.read_text()
    path.unlink()
    assert tokens.find(digest) is None
    assert "can't be read: no such file or directory" in caplog.text
    path.write_text(kept + "nonsense\n")
    assert tokens.find(digest)
    assert "line 3: 1 words" in caplog.text


def test_every_token_is_compared_in_constant_time_wherever_the_match_is(tmp_path, monkeypatch):
    path = tmp_path / "tokens"
    texts = [token_in(path, f"n{number}") for number in range(5)]
    compared = []

    def counted(one, other):
        compared.append(one)
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(token_file, "hmac", type("Counting", (), {"compare_digest": staticmethod(counted)}))
    tokens = TokenFile(path)
    for text in (*texts, "none of them"):
        compared.clear()
        tokens.find(digest_of(text.encode()))
        assert len(compared) == 5


@pytest.mark.parametrize("failure", [errno.EMFILE, errno.EIO, errno.ENOMEM], ids=errno.errorcode.get)
def test_a_file_that_could_not_be_read_once_is_read_again(tmp_path, monkeypatch, caplog, failure):
    path = tmp_path / "tokens"
    token = token_in(path, "ci")
    settle(path)
    tokens = TokenFile(path)
    opened = Path.open

    def fail(*arguments, **options):
        raise OSError(failure, os.strerror(failure))

    monkeypatch.setattr(Path, "open", fail)
    for _ in range(3):
        assert tokens.find(digest_of(token.encode())) is None
    assert len(caplog.records) == 1, "it is logged once"
    monkeypatch.setattr(Path, "open", opened)
    found = tokens.find(digest_of(token.encode()))
    assert found is not None and found.name == "ci"
    reads = tokens.reads
    tokens.refresh()
    assert tokens.reads == reads, "and from then on only when it changes"


def settle(path):
    """Make a file look as if it had changed a while ago."""
    long_ago = time.time() - 60
    os.utime(path, (long_ago, long_ago))

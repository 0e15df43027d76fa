"""The control socket between a real server and the client of `xdpfix show`."""

import asyncio
import io
import json
import socket
import stat
from pathlib import Path

import pytest

from sampler.console.show import print_result
from sampler.control.client import ask, tell
from sampler.control.commands import table
from sampler.control.server import PART, REQUEST_MAX, ControlServer
from sampler.errors import ConfigError, StartError, XdpfixError


class Service:
    """What the commands ask of the service, noted; `wrong` makes a reload fail."""

    def __init__(self, wrong: str = "") -> None:
        self.done: list[object] = []
        self.wrong = wrong

    def reload(self) -> list[str]:
        if self.wrong:
            raise ConfigError(self.wrong)
        self.done.append("reload")
        return ["exporter.sampling: 1 → 2"]

    async def set_sampling(self, sampling: int) -> list[str]:
        self.done.append(sampling)
        return []

    async def settled(self) -> None:
        self.done.append("settled")

    async def flush(self, name: str | None) -> dict[str, int]:
        return {name or "main": 3}


def serve(path: Path, client, service: Service | None = None, **shown):
    """Run a server with the commands of a service, and the blocking client in a thread."""
    service = service or Service()

    async def run():
        async with ControlServer(path, table(service, shown, service.flush)):
            return await asyncio.to_thread(client)

    return asyncio.run(run())


def test_answers_of_functions_and_coroutines(tmp_path: Path):
    async def slow():
        return [{"name": "eth0"}]

    path = tmp_path / "sock"
    assert serve(path, lambda: ask(path, "stats"), stats=lambda: {"lost": 0}) == {"lost": 0}
    assert serve(path, lambda: ask(path, "interfaces"), interfaces=slow) == [{"name": "eth0"}]
    assert not path.exists()


def test_the_socket_is_its_owners_alone(tmp_path: Path):
    path = tmp_path / "deep" / "sock"
    assert serve(path, lambda: stat.S_IMODE(path.stat().st_mode)) == 0o600


def test_an_unknown_subject_and_a_handler_that_fails(tmp_path: Path):
    def fail():
        raise XdpfixError("no exporter of that name; `xdpfix show exporters` lists them")

    path = tmp_path / "sock"
    with pytest.raises(XdpfixError, match='cannot show "x"; this xdpfix shows stats'):
        serve(path, lambda: ask(path, "x"), stats=dict)
    with pytest.raises(XdpfixError, match="no exporter of that name"):
        serve(path, lambda: ask(path, "flows"), flows=fail)


@pytest.mark.parametrize("request_", [b"\n", b"{", b"[]\n", b'{"show": {}}\n', b"x" * (REQUEST_MAX * 4)])
def test_nonsense_harms_nobody(tmp_path: Path, request_):
    path = tmp_path / "sock"

    def client():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            try:
                sock.sendall(request_)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass
            except OSError:
                pass  # the server may hang up first
        return ask(path, "stats")

    assert serve(path, client, stats=lambda: 1) == 1


def test_a_long_list_is_one_answer(tmp_path: Path):
    """It is written in parts, between which the data thread gets its turn."""
    path = tmp_path / "sock"
    rows = [{"number": number} for number in range(2 * PART + 1)]
    for length in (0, 1, PART, PART + 1, len(rows)):
        assert serve(path, lambda: ask(path, "flows"), flows=lambda length=length: rows[:length]) == rows[:length]


def test_reload_and_set_wait_until_the_data_thread_has_it(tmp_path: Path):
    path, service = tmp_path / "sock", Service()
    answer = serve(path, lambda: tell(path, {"reload": True}), service)
    assert answer == {"changes": ["exporter.sampling: 1 → 2"]}
    assert serve(path, lambda: tell(path, {"set": {"sampling": 7}}), service) == {"changes": []}
    assert service.done == ["reload", "settled", 7, "settled"]


def test_an_error_that_nobody_thought_of_is_told_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """The kernel may refuse a map: an OSError, as a client's going away is one."""
    path = tmp_path / "sock"
    service = Service()
    service.reload = lambda: (tmp_path / "nothing").stat()  # type: ignore[method-assign]
    with pytest.raises(XdpfixError, match="an error of xdpfix: FileNotFoundError"):
        serve(path, lambda: tell(path, {"reload": True}), service)
    assert "FileNotFoundError" in caplog.text


def test_flush_of_one_exporter_and_of_all(tmp_path: Path):
    path = tmp_path / "sock"
    assert serve(path, lambda: tell(path, {"flush": True})) == {"main": 3}
    assert serve(path, lambda: tell(path, {"flush": "dns"})) == {"dns": 3}


def test_a_refusal_has_the_exit_code_of_its_error(tmp_path: Path):
    path = tmp_path / "sock"
    with pytest.raises(XdpfixError, match="sampling = 0: must be") as caught:
        serve(path, lambda: tell(path, {"reload": True}), Service(wrong="x.toml: exporter.sampling = 0: must be"))
    assert caught.value.exit_code == ConfigError.exit_code


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({}, "a request has one command of show, reload, flush, set"),
        ({"show": "stats", "reload": True}, "a request has one command"),
        ({"dance": True}, "a request has one command"),
        ({"reload": False}, "reload false: must be true"),
        ({"flush": 1}, "flush 1: must be true or the name of an exporter"),
        ({"reload": True, "now": 1}, 'reload: "now" is no option of it'),
        ({"set": {}}, 'set {}: must be {"sampling": N}'),
        ({"set": {"sampling": 0}}, "sampling = 0: must be a whole number from 1 to 4294967295"),
        ({"set": {"sampling": True}}, "sampling = true: must be"),
        ({"show": ["stats"]}, 'cannot show ["stats"]'),
    ],
)
def test_arguments_are_checked(tmp_path: Path, request_, sentence: str):
    path, service = tmp_path / "sock", Service()
    with pytest.raises(XdpfixError) as caught:
        serve(path, lambda: tell(path, request_), service, stats=dict)
    assert sentence in str(caught.value)
    assert service.done == []


def test_while_it_starts_it_says_so(tmp_path: Path):
    path = tmp_path / "sock"

    async def run():
        async with ControlServer(path, {}):
            await asyncio.to_thread(ask, path, "stats")

    with pytest.raises(XdpfixError, match="xdpfix is starting"):
        asyncio.run(run())


def test_a_second_server_is_refused_and_a_left_over_socket_is_not(tmp_path: Path):
    path = tmp_path / "sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()

    async def second():
        async with ControlServer(path, {}):
            with pytest.raises(StartError, match="another xdpfix is running"):
                await ControlServer(path, {}).start()

    asyncio.run(second())


def test_a_path_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"sampler\.control_socket"):
        serve(tmp_path / "file" / "sock", lambda: None)


def printed(result, as_json=False) -> str:
    out = io.StringIO()
    print_result(result, out, as_json)
    return out.getvalue()


def test_rows_and_mappings_as_tables():
    rows = [{"name": "eth0", "packets": 5}, {"name": "[red]x[/]", "packets": 12345, "hook": "tcx"}]
    lines = printed(rows).splitlines()
    assert lines[0].split() == ["name", "packets", "hook"]
    assert lines[1].split() == ["eth0", "5", "-"]
    assert lines[2].split() == ["[red]x[/]", "12345", "tcx"]
    text = printed({"samples": {"lost_ring": 3}, "generation": 1})
    assert "lost_ring" in text
    assert "generation" in text
    assert printed([]) == "none\n"


def test_json():
    assert json.loads(printed({"a": [1, "ü"]}, as_json=True)) == {"a": [1, "ü"]}

"""The command line under attack: bad photos among good ones, closed streams, texts that command, signals, chance."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
from PIL import Image

import fuzz_cli
import gradsight as gs
from commands import run
from gradsight.cli import outcomes, parsing, terminal
from gradsight.cli.outcomes import each
from gradsight.errors import InvalidArgument, ModelError, UnknownName, printable
from gradsight.explaining import assemble
from gradsight.limits import INPUT_PIXELS
from gradsight.photos import Photo
from gradsight.results.wording import share

pytestmark = pytest.mark.pytorch

MAIN = "from gradsight.cli import main; main()"


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    fuzz_cli.furnish(folder)
    return folder


@pytest.fixture
def here(furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the fuzzer's photos and models as the current one; results go to ``tmp_path``."""
    monkeypatch.chdir(furnished)
    monkeypatch.syspath_prepend(str(furnished))
    return tmp_path


def explain(out: Path, *arguments: object, model: str = "tiny"):
    return run("explain", "--model", f"fuzz_models:{model}", "--out", out, "--json", *arguments)


def images(stdout: str) -> list[str]:
    return [json.loads(line)["image"] for line in stdout.splitlines()]


# One bad photo ends no folder.


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("bad", "model", "more", "words"),
    [
        ("dark.png", "hungry", (), "not enough memory"),
        ("dark.png", "picky", (), "too dark [/b] for me"),
        ("small.png", "segmenting", ("--class", "cat", "--point", "45,60"), "must lie in what the model saw"),
        ("grey.png", "segmenting", ("--class", "cat", "--box", "33,34,48,64"), "must lie in what the model saw"),
        (
            "small.png",
            "segmenting",
            ("--class", "cat", "--mask", "photo_mask.png"),
            "must have the size of the picture",
        ),
        ("cut.png", "tiny", (), "damaged or cut off"),
        ("missing.png", "tiny", (), "There is no file"),
        ("loop.png", "tiny", (), "'loop.png'"),
        ("n" * 300 + ".png", "tiny", (), "too long"),
    ],
)
def test_a_bad_photo_is_named_and_the_others_are_done(here, bad, model, more, words, first):
    Image.new("L", (64, 48), 255).save("photo_mask.png")
    good = ["photo.jpg", "photo.jpg"]
    given = [bad, *good] if first else [*good, bad]
    result = explain(here / "out", *given, *more, "--fit", "squash", model=model)
    assert result.exit_code == 1
    assert images(result.stdout) == good
    told, last = result.stderr.splitlines()
    assert told.startswith("Failed: ")
    assert bad in told
    assert words in told
    assert last == "Failed: 1 of 3 images; the others are done."


def test_a_name_that_cannot_be_written_costs_its_photo_alone(here):
    (here / "out" / "grey.json" / "taken").mkdir(parents=True)
    result = explain(here / "out", "grey.png", "small.png", "photo.jpg")
    assert (result.exit_code, images(result.stdout)) == (1, ["small.png", "photo.jpg"])
    assert "'grey.png': " in result.stderr
    assert (here / "out" / "small.json").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--class", "cow"), "no class 'cow'"),
        (("--class", "7"), "between 0 and 2"),
        (("--top", "9"), "the model's 3"),
        (("--layer", "third"), "no layer 'third'"),
        (("--class", "cat", "--point", "5,5"), "scores at positions"),
    ],
)
def test_what_fits_no_photo_is_said_once_with_status_2(here, more, words):
    result = explain(here / "out", "grey.png", "small.png", "photo.jpg", *more)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert words in line
    assert not (here / "out").exists()


def test_photos_that_all_fail_for_reasons_of_their_own_are_each_named(here):
    more = ("--class", "cat", "--point", "400,400", "--fit", "squash")
    result = explain(here / "out", "grey.png", "small.png", "photo.jpg", *more, model="segmenting")
    assert (result.exit_code, result.stdout) == (1, "")
    assert [line[:9] for line in result.stderr.splitlines()] == ["Failed: '"] * 3 + ["Failed: a"]


def photos(*names: str) -> list[Photo]:
    return [Photo(name, name, Path(name)) for name in names]


def raising(errors: dict[str, BaseException]):
    tried: list[str] = []

    def make(photo: Photo) -> str:
        tried.append(photo.name)
        if photo.name in errors:
            raise errors[photo.name]
        return photo.name.upper()

    return make, tried


def test_an_unknown_name_stops_at_once_and_what_may_be_the_photo_s_does_not(capsys):
    names = [f"{i}" for i in range(9)]
    make, tried = raising(dict.fromkeys(names, UnknownName("no such class")))
    with pytest.raises(UnknownName):
        list(each(photos(*names), make))
    assert tried == ["0"]
    make, tried = raising(dict.fromkeys(names, InvalidArgument("too large")))
    with pytest.raises(InvalidArgument):
        list(each(photos(*names), make))
    assert tried == names
    assert capsys.readouterr().err.startswith("Note: the first 3 photos failed alike, the others are tried. too large")


def test_what_failed_holds_no_memory():
    make, _ = raising({"b": ModelError("x")})
    a, b = each(photos("a", "b"), make)
    assert (a.result, a.error, b.result) == ("A", None, None)
    assert b.error is not None
    assert (b.error.__traceback__, b.error.__context__, b.error.__cause__) == (None, None, None)


@pytest.mark.parametrize("text", ["RESOURCE_EXHAUSTED: 9 GB", "DefaultCPUAllocator: can't allocate memory"])
def test_a_framework_that_runs_out_of_memory_is_about_the_photo(text):
    class OutOfMemoryError(RuntimeError):
        pass

    for error in (RuntimeError(text), OutOfMemoryError("CUDA")):
        wrapped = ModelError("the model failed")
        wrapped.__cause__ = error
        for raised in (error, wrapped):
            (outcome,) = each(photos("a"), raising({"a": raised})[0])
            assert isinstance(outcome.error, MemoryError)


def test_of_several_others_one_that_fails_costs_no_comparison(here):
    result = run("similar", "small.png", "dark.png", "grey.png", "--model", "fuzz_models:picky", "--out", here / "out")
    assert result.exit_code == 1
    assert result.stderr.startswith("Failed: 'dark.png': ")
    written = {path.name for path in (here / "out").iterdir()}
    assert {"small.similar.json", "grey.similar.json", "small.gradcam.like_grey_png.png"} <= written


def test_of_photos_to_search_one_that_fails_costs_no_channel(here):
    searched = [x for name in ("dark.png", "grey.png", "cut.png", "photo.jpg") for x in ("--images", name)]
    result = run("neurons", "small.png", *searched, "--model", "fuzz_models:picky", "--out", here / "out", "--json")
    assert result.exit_code == 1
    assert [line.split("'")[1] for line in result.stderr.splitlines() if "Failed" in line] == ["dark.png", "cut.png"]
    examples = json.loads(result.stdout)["positive"][0]["examples"]
    assert {x["image"] for x in examples} == {"grey.png", "photo.jpg"}


@pytest.mark.parametrize("model", ["leaving", "leaving_later"])
def test_a_model_that_ends_the_process_ends_no_command(here, model):
    result = run("explain", "grey.png", "--model", f"fuzz_models:{model}", "--out", here / "out")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "exit" in line.lower()


# Values.


@pytest.mark.parametrize("text", ["a={[]:1}", "a={{}}", "a=" + "[" * 5000, "a=" + "9" * 5000, "a='\udcff'", "a=1e999"])
def test_any_value_of_an_argument_is_one(text):
    name, value = parsing.argument(text)
    assert name == "a"
    assert isinstance(value, str | float)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--size", "100000x100000"),
        ("--size", "4097x4097"),
        ("--size", "7x7x7x7x7"),
        ("--grid", "99999x99999"),
        ("--grid", "7x7x7x7x7"),
        ("--crop", "1e-308"),
        ("--crop", "1e-3"),
        ("--crop", "nan"),
        ("--top", "9" * 400),
        ("--top", "1000000000000"),
        ("--opacity", "nan"),
        ("--opacity", "1e400"),
        ("--mean", "inf"),
        ("--mean", "9" * 400),
        ("--std", "0"),
        ("--batch-size", "nan"),
        ("--batch-size", "0"),
        ("--methods", ","),
        *((option, "") for option in ("--model", "--class", "--weights", "--labels", "--text", "--colormap", "--out")),
    ],
)
def test_a_number_at_its_limits_is_one_line_and_status_2(here, arguments):
    command = "compare" if arguments[0] == "--methods" else "explain"
    out = here / "out.png" if command == "compare" else here / "out"
    result = run(command, "grey.png", "--model", "fuzz_models:tiny", "--out", out, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")


def test_a_large_size_can_be_allowed(monkeypatch):
    with pytest.raises(InvalidArgument, match="GRADSIGHT_MAX_INPUT_PIXELS"):
        parsing.sides("5000x5000", "--size")
    monkeypatch.setattr(INPUT_PIXELS, "value", 5000**2)
    assert parsing.sides("5000x5000", "--size") == (5000, 5000)


def test_no_number_is_said_to_be_none(here):
    assert [share(x) for x in (float("nan"), float("inf"), 0.0, 1e-9, 0.5)] == [
        "not a number",
        "infinite",
        "0%",
        "<1%",
        "50%",
    ]
    result = run("explain", "grey.png", "--model", "fuzz_models:nan", "--out", here / "out", "--class", "cat")
    assert result.exit_code == 0
    assert "cat not a number" in result.stdout
    assert "<1%" not in result.stdout


# Texts that would command a terminal, or be read as markup.

HOSTILE = ["x [/b]", "[red]x[/red]", "x :smile:", "\x1b[31mred", "\u202eevil", "a\nb", "a\x00b", "\udcff", "[/]"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("where", ["class", "value", "option", "command", "number", "name"])
def test_a_mistake_is_echoed_as_it_is_in_one_line(here, text, where):
    arguments = {
        "class": ["explain", "grey.png", "--class", text],
        "value": ["explain", "grey.png", "--fit", text],
        "option": ["explain", "grey.png", f"--{text}"],
        "command": [text],
        "number": ["explain", "grey.png", "--top", text],
        "name": ["explain", f"{text} gone.png"],
    }[where]
    tail = ["--model", "fuzz_models:tiny"] if len(arguments) > 1 else []
    result = run(*arguments, *tail)
    assert result.exit_code == (1 if where == "name" else 2)
    (line,) = result.stderr.splitlines()
    assert line.startswith("Failed: " if where == "name" else "Error: ")
    assert all(c.isprintable() for c in line)
    if where in ("class", "value", "name") and text.isprintable():
        assert text in line


@pytest.mark.parametrize("command", ["explain", "compare", "similar", "neurons"])
@pytest.mark.parametrize("labels", [HOSTILE[:3], HOSTILE[3:6], HOSTILE[6:]])
def test_labels_are_no_markup_in_any_command(here, command, labels):
    (here / "labels.json").write_text(json.dumps(labels))
    out = here / ("grid.png" if command == "compare" else "out")
    more = {"explain": ["--top", 3], "compare": ["--top", 3, "--methods", "gradcam"], "neurons": ["--top", 3]}
    given = ["--labels", here / "labels.json"] if command != "similar" else []
    others = ["photo.jpg"] if command == "similar" else []
    result = run(
        command, "grey.png", *others, "--model", "fuzz_models:tiny", *given, "--out", out, *more.get(command, [])
    )
    assert result.exit_code == 0, result.stderr
    assert all(c.isprintable() or c == "\n" for c in result.output)
    if command != "similar":
        for label in labels:
            assert printable(label) in " ".join(result.stdout.split("\n")) + result.stdout


# Streams.


def process(shell: str, *arguments: str, code: str = MAIN) -> subprocess.CompletedProcess[str]:
    """A command run by the shell, with ``shell`` after it; its own status comes first on a line of stderr's end."""
    paths = [str(Path(gs.__file__).parents[1]), os.getcwd()]
    known = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}
    script = f'set -o pipefail; "$@" {shell}'
    command = ["bash", "-c", script, "bash", sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=known, check=False)


TINY = ("--model", "fuzz_models:tiny")
COMMANDS = {
    "explain": ("explain", "grey.png", *TINY, "--out", "OUT"),
    "compare": ("compare", "grey.png", *TINY, "--methods", "gradcam", "--out", "OUT/grid.png"),
    "layers": ("layers", "grey.png", *TINY),
    "methods": ("methods",),
    "models": ("models",),
}
FILES = {"explain": "grey.json", "compare": "grid.png"}
SOME = ["explain", "methods", *(pytest.param(x, marks=pytest.mark.slow) for x in ("compare", "layers", "models"))]


def called(command: str, out: Path, shell: str, *more: str) -> subprocess.CompletedProcess[str]:
    return process(shell, *(part.replace("OUT", str(out)) for part in COMMANDS[command]), *more)


@pytest.mark.parametrize("command", SOME)
def test_a_closed_stdout_costs_nothing_but_what_had_to_go_there(here, command):
    done = called(command, here, ">&-")
    if command in FILES:
        assert (done.returncode, done.stderr) == (0, "")
        assert (here / FILES[command]).stat().st_size > 0
    else:
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert "stdout, which is closed" in done.stderr
    done = called(command, here / "json", ">&-", "--json")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith("Error: ")


@pytest.mark.parametrize("command", SOME)
def test_a_full_disk_behind_stdout_is_one_line_and_status_1(here, command):
    done = called(command, here, ">/dev/full", *(["--json"] if command in ("layers", "compare") else []))
    assert (done.returncode, done.stderr) == (1, "Error: stdout cannot be written: No space left on device.\n")
    assert command not in FILES or (here / FILES[command]).exists()


@pytest.mark.parametrize("command", SOME)
def test_a_reader_that_leaves_ends_quietly(here, command):
    done = called(command, here, "| true")
    assert (done.returncode, done.stderr) == (0, "")
    assert command not in FILES or (here / FILES[command]).exists()


@pytest.mark.slow
@pytest.mark.parametrize(("shell", "status"), [(">&-", 0), (">/dev/full", 1), ("| true", 0), ("2>&-", 0)])
def test_the_demo_writes_its_pictures_whoever_reads(here, shell, status):
    done = process(shell, "demo", "--out", str(here))
    assert (done.returncode, len(done.stderr.splitlines())) == (status, status)
    assert (here / "cat_and_coffee.figure.jpg").exists()


@pytest.mark.parametrize(
    "shell", ["<&- >&- 2>&-", *(pytest.param(x, marks=pytest.mark.slow) for x in ("2>&-", "2>/dev/full"))]
)
def test_a_lost_stderr_costs_no_file(here, shell):
    done = called("explain", here, shell, "missing.png")
    assert (done.returncode, done.stderr) == (1, "")
    assert (here / "grey.json").stat().st_size > 0
    assert ("grey.png" in done.stdout) == (">&- 2" not in shell)


@pytest.mark.parametrize(
    ("shell", "status", "arguments"),
    [
        (">&-", 0, ("explain", "--help")),
        (">/dev/full", 1, ("explain", "--help")),
        ("| true", 0, ("--help",)),
        (">&-", 2, ("--version",)),
    ],
)
def test_help_needs_no_reader(here, shell, status, arguments):
    done = process(shell, *arguments)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == (done.returncode > 0)


# What libraries and models say on the side.

SPEAKING = """
import atexit, logging, os, sys, threading, time, warnings
import torch
from fuzz_models import made


def for_ever():
    while True:
        print("print in a thread")
        time.sleep(0.001)


def build():
    warnings.warn("warned in build")
    logging.getLogger("mine").warning("logged by the user")
    threading.Thread(target=for_ever, daemon=True).start()
    threading.Thread(target=lambda: 1 / 0).start()

    def after(x, y):
        warnings.warn("warned in forward")
        torch.meshgrid(torch.arange(2), torch.arange(2))  # PyTorch warns of it
        if not os.fork():
            print("print in a child")
            os._exit(0)
        sys.stdout.close()
        sys.stderr.write("written to stderr\\n")
        return y

    atexit.register(print, "print at exit")
    return made(after)


def failing():
    warnings.warn("this may be why")
    raise RuntimeError("no luck")
"""


def test_prints_go_to_stderr_and_warnings_are_kept_back(here, monkeypatch):
    (here / "speaking.py").write_text(SPEAKING)
    code = f"import sys; sys.path.insert(0, {str(here)!r}); {MAIN}"
    done = process("", "explain", "grey.png", "--model", "speaking:build", "--out", str(here), "--json", code=code)
    assert done.returncode == 0, done.stderr
    assert images(done.stdout) == ["grey.png"]
    told = set(done.stderr.splitlines())
    assert {"print in a thread", "written to stderr", "print at exit"} <= told
    assert any("logged by the user" in line for line in told)
    for words in ("warned", "Warning", "meshgrid", "ZeroDivisionError", "Traceback"):
        assert words not in done.stderr


def test_of_a_model_that_fails_the_warnings_are_told_a_line_each(here):
    (here / "speaking.py").write_text(SPEAKING)
    code = f"import sys; sys.path.insert(0, {str(here)!r}); {MAIN}"
    done = process("", "explain", "grey.png", "--model", "speaking:failing", "--out", str(here), "--json", code=code)
    assert (done.returncode, done.stdout) == (2, "")
    note, error = done.stderr.splitlines()
    assert note == "Note: UserWarning: this may be why"
    assert error.startswith("Error: ")
    assert "no luck" in error


def test_what_nobody_foresaw_is_one_line_and_can_be_seen(here, monkeypatch):
    def broken(*args: object, **options: object) -> None:
        raise KeyError("of ours")

    monkeypatch.setattr(gs, "load_model", broken)
    result = run("explain", "grey.png")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "GRADSIGHT_TRACEBACK=1" in result.stderr
    monkeypatch.setattr(terminal, "SHOW_FAULTS", True)
    with pytest.raises(KeyError, match="of ours"):
        run("explain", "grey.png")


def test_a_fault_in_an_explanation_can_be_seen_where_it_is(here, monkeypatch):
    def deep_inside(*args: object) -> None:
        raise KeyError("of ours")

    monkeypatch.setattr(assemble, "maps_of", deep_inside)
    monkeypatch.setattr(terminal, "SHOW_FAULTS", True)
    monkeypatch.setattr(outcomes, "SHOW_FAULTS", True)
    with pytest.raises(KeyError, match="of ours") as caught:
        run("explain", "grey.png")
    assert "in deep_inside" in "".join(traceback.format_exception(caught.value))


# Signals.

SLOW = """
import sys, time
from fuzz_models import made


def build():
    def after(x, y):
        sys.stderr.write("running\\n")
        sys.stderr.flush()
        time.sleep(30)
        return y
    return made(after)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_ends_at_once_with_its_status_and_leaves_nothing_half_done(here, number, status):
    (here / "slow.py").write_text(SLOW)
    known = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(gs.__file__).parents[1]), str(here), os.getcwd()])}
    arguments = ["explain", "grey.png", "--model", "slow:build", "--out", str(here / "out")]
    command = [sys.executable, "-c", MAIN, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=known) as running:
        assert running.stderr is not None
        assert running.stderr.readline() == "running\n"
        start = time.monotonic()
        running.send_signal(number)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (status, "", "")
    assert time.monotonic() - start < 10
    assert not (here / "out").exists()


@pytest.mark.slow
def test_no_command_leaves_a_torn_file_behind(here):
    (here / "photos").mkdir()
    for number in range(40):
        Image.effect_noise((320 + number, 240), 60).save(here / "photos" / f"{number}.png")
    command = [
        sys.executable,
        "-c",
        MAIN,
        "explain",
        str(here / "photos"),
        "--method",
        "gradcam",
        "--method",
        "layercam",
    ]
    draw, written = random.Random(5), 0
    for number in range(20):
        how, out = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[number % 3], here / f"out{number}"
        with subprocess.Popen(
            [*command, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as running:
            while not out.is_dir() or not any(out.iterdir()):
                assert running.poll() is None
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 1.5))
            running.send_signal(how)
            _, err = running.communicate(timeout=60)
        assert b"Traceback" not in err
        for path in out.iterdir():
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".png":
                Image.open(path).load()
            else:
                assert (path.suffix, how) == (".part", signal.SIGKILL)
                continue
            written += 1
    assert written > 60


# By chance.


def test_command_lines_by_chance():
    report = fuzz_cli.fuzz(seed=1, count=300)
    assert not report.faults, str(report)
    assert report.statuses[0] > 45
    assert report.statuses[1] > 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_command_lines_by_chance():
    report = fuzz_cli.fuzz(seed=15, count=2000)
    assert not report.faults, str(report)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_processes_by_chance():
    report = fuzz_cli.fuzz(seed=16, count=100, run=fuzz_cli.in_a_process)
    assert not report.faults, str(report)


def test_the_fuzzer_sees_what_is_wrong(monkeypatch):
    """It would be of no use if it could not fail."""

    def traced(line: fuzz_cli.Line) -> tuple[int, str, str]:
        return 0, "no JSON\x1b", "Traceback (most recent call last)"

    report = fuzz_cli.fuzz(seed=1, count=20, run=traced)
    assert {what for what, _, _ in report.faults} >= {"nobody foresaw it", "control characters", "stdout is not JSON"}

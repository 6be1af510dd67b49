"""What the page takes: an answer beside a plain forward pass, and sixteen clients at once.

``python benchmarks/bench_page.py`` starts a page of the demo model in a process of its own, and asks it:

- one client, a photo that is uploaded already: seconds of an answer of the API, each after a plain forward pass of the
  same model in the same process as the page, whose seconds the page tells (``/forward``, which this bench alone has);
- sixteen clients with twenty requests each, a tenth of them broken photos: whether each is answered, and by its own
  answer, and how much memory the page's process has after 100 and after all requests.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/support"))

CLIENTS, REQUESTS, BROKEN = 16, 20, 10

_ASKED = ("", [], 3, ["gradcam"], [], {})
"""The other arguments of /explain: without a client of Gradio's nobody fills them in."""

_SERVER = """
import sys, time
import gradio as gr, torch
import gradsight as gs
from gradsight.pages.serving import Shown, served
from gradsight.pages.web import api

demo = gs.Explainer(gs.load_model("demo"), name="demo")

def forward() -> float:
    begun = time.perf_counter()
    with torch.no_grad():
        demo.model.model(torch.zeros(1, 3, 224, 224))
    return time.perf_counter() - begun

build = api.Api.build

def with_forward(self):
    build(self)
    gr.api(forward, api_name="forward", concurrency_id="model")

api.Api.build = with_forward
with served(Shown([("demo", demo)])) as page:
    print(page, flush=True)
    sys.stdin.read()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    given = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        page = server.stdout.readline().strip()
        latency(page, given.rounds)
        together(page, server.pid, given.clients, given.requests)
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(60)


def latency(page: str, rounds: int) -> None:
    """An answer beside a plain pass, one after the other."""
    from gradio_client import Client

    client = Client(page, verbose=False, httpx_kwargs={"timeout": 120})
    uploaded = _uploaded(page, Path(_photo()).read_bytes())
    forwards, answers, inside = [], [], []
    for _ in range(rounds + 2):
        forwards.append(client.predict(api_name="/forward"))
        begun = time.perf_counter()
        made = client.predict(uploaded, api_name="/explain")
        answers.append(time.perf_counter() - begun)
        inside.append(made["seconds"])
    # The first ones load what the others find.
    plain, answer, model = (1000 * statistics.median(values[2:]) for values in (forwards, answers, inside))
    print(f"a plain forward {plain:.0f} ms, an answer {answer:.0f} ms, of which the explanation {model:.0f} ms")
    print(f"1.5 forwards + {answer - 1.5 * plain:.0f} ms")


def together(page: str, process: int, clients: int, requests: int) -> None:
    """Many clients at once: who is answered, whose answer it is, and what memory it takes."""
    done: list[str] = []
    memory: dict[int, float] = {0: _memory(process)}

    def ask(client: int) -> list[str]:
        told = []
        for number in range(requests):
            told.append(_asked(page, client, number, requests))
            done.append(told[-1])
            if len(done) in (20, 100, clients * requests):
                memory[len(done)] = _memory(process)
        return told

    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        found = [one for told in threads.map(ask, range(clients)) for one in told]
    seconds = time.perf_counter() - begun
    counts = {kind: found.count(kind) for kind in sorted(set(found))}
    print(f"{clients} clients x {requests}: {counts}, {len(found) / seconds:.1f} requests/s")
    print("MB of the page:", ", ".join(f"{value:.0f} after {count}" for count, value in sorted(memory.items())))


def _asked(page: str, client: int, number: int, requests: int) -> str:
    import io

    import httpx

    import pages_of

    broken = (client * requests + number) % BROKEN == 0
    file = io.BytesIO()
    # Known again by its width, which no other client's photo has.
    pages_of.recognised(client + 1).save(file, "PNG")
    content = file.getvalue()[:400] if broken else file.getvalue()
    try:
        data = _uploaded(page, content)
        with httpx.Client(base_url=page, timeout=120) as http:
            event = (
                http.post("/gradio_api/call/explain", json={"data": [data, *_ASKED]})
                .raise_for_status()
                .json()["event_id"]
            )
            answer = http.get(f"/gradio_api/call/explain/{event}").text
    except httpx.HTTPError as error:
        return f"failed: {type(error).__name__}"
    return _judged(answer, broken, 96 + client + 1)


def _judged(answer: str, broken: bool, width: int) -> str:
    import json

    kind, _, rest = answer.rpartition("event: ")[2].partition("\n")
    data: Any = json.loads(rest.partition("data: ")[2])
    if broken:
        return (
            "told that it is broken"
            if kind == "error" and "The photo cannot be read" in str(data)
            else f"broken: {data}"
        )
    if kind != "complete":
        return f"not answered: {str(data)[:80]}"
    return "its own answer" if data[0]["explanations"][0]["width"] == width else "ANOTHER'S ANSWER"


def _uploaded(page: str, content: bytes) -> dict[str, Any]:
    import httpx

    files = {"files": ("photo.png", content, "image/png")}
    (path,) = httpx.post(f"{page}gradio_api/upload", files=files, timeout=120).raise_for_status().json()
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def _photo() -> str:
    from gradsight.photos import bundled_photo

    content = bundled_photo().source
    assert isinstance(content, bytes)
    path = Path(tempfile.mkdtemp()) / "photo.jpg"
    path.write_bytes(content)
    return str(path)


def _memory(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1000


if __name__ == "__main__":
    main()

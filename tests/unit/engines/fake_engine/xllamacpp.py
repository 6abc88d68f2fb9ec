"""An engine that is not one: what the worker imports, with behaviours that tests ask for. No model, no CPU.

How it starts is the first word of the model file; how it answers is the last message: `say 5`, `prefill 2 say 1`,
`die`, `hang`, `context`, `bad`, `broken`, `spew`.
"""

import contextlib
import json
import os
import signal
import socketserver
import threading
import time
import types
from http.server import BaseHTTPRequestHandler

ggml_type = types.SimpleNamespace(GGML_TYPE_F16=1, GGML_TYPE_Q8_0=8, GGML_TYPE_Q4_0=2)
llama_pooling_type = types.SimpleNamespace(LLAMA_POOLING_TYPE_MEAN=1)


class CommonAdapterLoraInfo:
    def __init__(self, path, scale):
        self.path, self.scale = path, scale


class CommonParams:
    def __init__(self):
        self.lora_adapters = []
        self.model = types.SimpleNamespace(path="")
        self.cpuparams = types.SimpleNamespace(n_threads=-1)
        self.cpuparams_batch = types.SimpleNamespace(n_threads=-1)


class Http(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine = None

    def log_message(self, *args):
        pass

    def address_string(self):
        return ""

    def is_allowed(self):
        return self.headers["authorization"] == f"Bearer {self.engine.p.api_keys[0]}"

    def do_GET(self):
        assert self.is_allowed()
        if self.path == "/slots":
            self.whole(200, [{"is_processing": busy, "pid": os.getpid()} for busy in self.engine.busy])
        else:
            self.whole(200, {"status": "ok"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.is_allowed():
            self.whole(401, {"error": {"message": "no", "type": "authentication_error", "code": 401}})
        elif self.path == "/completion":
            self.timings(body)
        else:
            self.engine.answer(self, body)

    def timings(self, body):
        how = self.engine.how
        if "stall" in how:
            time.sleep(30)
        n = len(body["prompt"].split())
        rate = 50.0 * self.engine.p.cpuparams.n_threads * (20 if "quick" in how else 1)
        prompt_ms = 0 if "odd" in how else n / rate * 1e3
        times = {"prompt_n": n, "prompt_ms": prompt_ms, "predicted_n": 8, "predicted_ms": 8 / rate * 1e3}
        self.whole(200, {"timings": times})

    def whole(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def event(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


class Server:
    def __init__(self, p):
        with open(p.model.path) as file:
            self.how = file.read(200).split()
        for adapter in p.lora_adapters:
            with open(adapter.path) as file:
                self.how += file.read(200).split()
        self.p = p
        self.busy = [False] * p.n_parallel
        self.lock = threading.Lock()
        self.free = threading.Semaphore(p.n_parallel)
        start(self.how)
        Handler.engine = self
        http = Http(p.hostnames[0], Handler)
        self.listening_address = f"unix://{p.hostnames[0]}"
        threading.Thread(target=http.serve_forever, daemon=True).start()
        if "dies-later" in self.how:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGKILL)).start()

    def answer(self, handler, body):
        words = str((body.get("messages") or [{"content": "say 1"}])[-1]["content"]).split()
        if "context" in words:
            error = {"message": "too long", "type": "exceed_context_size_error", "code": 400}
            return handler.whole(400, {"error": error})
        if "bad" in words:
            return handler.whole(400, {"error": {"message": "what?", "type": "invalid_request_error", "code": 400}})
        if "broken" in words:
            return handler.whole(500, {"error": {"message": "oh", "type": "server_error", "code": 500}})
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        handler.wfile.flush()
        self.free.acquire()
        with self.lock:
            slot = self.busy.index(False)
            self.busy[slot] = True
        try:
            self.stream(handler, words)
        except OSError:
            handler.close_connection = True
        finally:
            self.busy[slot] = False
            self.free.release()

    def stream(self, handler, words):
        def number(word, default):
            return float(words[words.index(word) + 1]) if word in words else default

        until_s = time.monotonic() + number("prefill", 0)
        while time.monotonic() < until_s:
            sum(range(0 if "locked" in words else 100_000))
            time.sleep(0.02)
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": next(iter(self.p.model_alias))}

        def send(delta, finish=None):
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            handler.event(b"data: " + json.dumps(chunk | {"choices": [choice]}).encode() + b"\n\n")

        if "spew" in words:
            for fd in (1, 2):
                for _ in range(1000):
                    with contextlib.suppress(BlockingIOError):
                        os.write(fd, b"e" * 10_000)
        if "hang" in words:
            os.kill(os.getpid(), signal.SIGSTOP)
        for n in range(int(number("say", 2))):
            send({"role": "assistant", "content": f"w{n} "} if n == 0 else {"content": f"w{n} "})
            time.sleep(number("gap", 0))
            time.sleep(number("deaf", 0))
            if "die" in words:
                os.write(2, b"0.00 E secret words of a caller\nGGML_ASSERT(x) failed\n")
                os.kill(os.getpid(), signal.SIGKILL)
        send({}, "stop")
        handler.event(b"data: [DONE]\n\n")
        handler.event(b"")


def start(how):
    if "slow" in how:
        time.sleep(float(how[how.index("slow") + 1]))
    if "fails" in how:
        os.write(2, b"0.00.1 E gguf_init: invalid magic characters\n0.00.2 E srv load_model: failed to load model\n")
        raise RuntimeError("Failed to init server, please check the input params.")
    if "aborts" in how:
        os.write(2, b"GGML_ASSERT(n > 0) failed\n")
        os.abort()
    if "silent" in how:
        os._exit(3)

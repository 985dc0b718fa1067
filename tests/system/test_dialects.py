"""Callers of every dialect, and the paths that are no dialogue, at vendors of four dialects: what goes up,
what comes down, and what is written down and billed.
"""
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import Cluster, expect, http, http_json

TEXT, IN, OUT = "Hello there.", 10, 5
PRICE_IN, PRICE_OUT = 1000, 2000  # nano-USD a token, as the file says.


def sse(events, named):
    return "".join(("event: %s\n" % e["type"] if named else "") + "data: %s\n\n" % json.dumps(e)
                   for e in events)


def message(model, content=None):
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": model,
            "content": [{"type": "text", "text": TEXT}] if content is None else content,
            "stop_reason": "end_turn", "stop_sequence": None,
            "usage": {"input_tokens": IN, "output_tokens": OUT}}


def message_stream(model):
    return sse([
        {"type": "message_start", "message": dict(message(model, []), stop_reason=None)},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT[:5]}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT[5:]}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
         "usage": {"output_tokens": OUT}},
        {"type": "message_stop"}], True)


USAGE = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}


def chat(model):
    return {"id": "c", "object": "chat.completion", "created": 1, "model": model, "usage": USAGE,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT},
                         "finish_reason": "stop"}]}


def chunks(model, key, texts):
    def chunk(**more):
        return dict({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model}, **more)
    return sse([chunk(choices=[dict({"index": 0, "finish_reason": None}, **{key: text})]) for text in texts]
               + [chunk(choices=[dict({"index": 0, "finish_reason": "stop"},
                                      **{key: "" if key == "text" else {}})]),
                  chunk(choices=[], usage=USAGE)], False) + "data: [DONE]\n\n"


def response(model, status="completed"):
    return {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": model,
            "output": [{"type": "message", "id": "m", "role": "assistant", "status": "completed",
                        "content": [{"type": "output_text", "text": TEXT, "annotations": []}]}],
            "usage": {"input_tokens": IN, "output_tokens": OUT, "total_tokens": IN + OUT}}


def response_stream(model):
    return sse([
        {"type": "response.created", "sequence_number": 0,
         "response": dict(response(model, "in_progress"), output=[], usage=None)},
        {"type": "response.output_text.delta", "sequence_number": 1, "item_id": "m", "output_index": 0,
         "content_index": 0, "delta": TEXT},
        {"type": "response.completed", "sequence_number": 2, "response": response(model)}], True)


def candidate(parts, **more):
    return {"responseId": "r", "modelVersion": "up", "usageMetadata": {
        "promptTokenCount": IN, "candidatesTokenCount": OUT - 1, "thoughtsTokenCount": 1}, "candidates": [
            dict({"index": 0, "content": {"role": "model", "parts": parts}}, **more)]}


def gemini(_):
    return candidate([{"text": TEXT}], finishReason="STOP")


def gemini_stream(_):
    return "".join("data: %s\r\n\r\n" % json.dumps(o) for o in [
        candidate([{"text": TEXT[:5]}]), candidate([{"text": TEXT[5:]}], finishReason="STOP")])


BILLED = {"billed_units": {"input_tokens": IN, "output_tokens": OUT},
          "tokens": {"input_tokens": IN + 60, "output_tokens": OUT}}


def cohere(_):
    return {"id": "c", "finish_reason": "COMPLETE", "usage": BILLED,
            "message": {"role": "assistant", "content": [{"type": "text", "text": TEXT}]}}


def cohere_stream(_):
    def content(kind, **more):
        return {"type": kind, "index": 0, "delta": {"message": {"content": more}}}
    return sse([
        {"type": "message-start", "id": "c", "delta": {"message": {"role": "assistant"}}},
        content("content-start", type="text", text=""), content("content-delta", text=TEXT[:5]),
        content("content-delta", text=TEXT[5:]), {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": BILLED}}], True)


WHOLE = {
    "generateContent": gemini, "/v2/chat": cohere,
    "/v1/messages": message, "/v1/chat/completions": chat, "/v1/responses": response,
    "/v1/messages/count_tokens": lambda model: {"input_tokens": 2095},
    "/v1/embeddings": lambda model: {
        "object": "list", "model": model, "usage": {"prompt_tokens": IN, "total_tokens": IN},
        "data": [{"object": "embedding", "index": 0, "embedding": "AACAPwAAAEA="}]},
    "/v1/completions": lambda model: {
        "id": "c", "object": "text_completion", "created": 1, "model": model, "usage": USAGE,
        "choices": [{"index": 0, "text": TEXT, "finish_reason": "stop"}]},
    "/v1/moderations": lambda model: {"id": "m", "model": model, "results": [{"flagged": False}]},
    "/v1/rerank": lambda model: {"results": [{"index": 0, "relevance_score": 0.9}],
                                 "usage": {"total_tokens": IN}},
}
STREAMS = {
    "streamGenerateContent": gemini_stream, "/v2/chat": cohere_stream,
    "/v1/messages": message_stream, "/v1/responses": response_stream,
    "/v1/chat/completions": lambda model: chunks(model, "delta", [
        {"role": "assistant", "content": ""}, {"content": TEXT[:5]}, {"content": TEXT[5:]}]),
    "/v1/completions": lambda model: chunks(model, "text", [TEXT[:5], TEXT[5:]]),
}


class Vendor(ThreadingHTTPServer):
    """Answers every path of every dialect, and keeps what it was asked."""
    daemon_threads = True

    def __init__(self):
        self.asked = []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.server_address[1]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, dict(self.headers), body))
        path = self.path.partition("?")[0]
        stream = body.get("stream", False)
        if ":" in path:  # Gemini's say all of it in the path.
            path = path.rpartition(":")[2]
            stream = path in STREAMS
        model = body.get("model")
        answer = STREAMS[path](model) if stream else json.dumps(WHOLE[path](model))
        raw = answer.encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if stream else "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


PROJECT = "/v1/projects/p/locations/europe-west1"


def config_of(vendor):
    def model(name, provider):
        return '  %s: {deployments: [{provider: %s, model: up-%s}], price: {input: "1 USD", output: "2 USD"}}' \
            % (name, provider, name)
    return lambda url: "\n".join([
        "version: 1", "providers:",
        '  chats: {type: openai, base_url: "%s/v1", private: true}' % vendor.url,
        '  claude: {type: anthropic, base_url: "%s", private: true}' % vendor.url,
        '  ranks: {type: jina, base_url: "%s/v1", private: true}' % vendor.url,
        '  google: {type: gemini, base_url: "%s/v1beta", private: true}' % vendor.url,
        '  cloud: {type: vertex, base_url: "%s%s", private: true}' % (vendor.url, PROJECT),
        '  co: {type: cohere, base_url: "%s", private: true}' % vendor.url,
        "models:", model("command", "co"), model("flash", "google"), model("gpt", "chats"),
        model("haiku", "claude"), model("orbit", "cloud"), model("ranker", "ranks"),
        "routes:", "  auto: {models: [gpt]}", ""])


HELLO = [{"role": "user", "content": "Say hello."}]


def events_of(raw):
    return [json.loads(line[6:]) for line in raw.decode().split("\n")
            if line.startswith("data: ") and line != "data: [DONE]"]


def text_of_chat(raw, stream):
    if not stream:
        return json.loads(raw)["choices"][0]["message"]["content"]
    expect(raw.endswith(b"data: [DONE]\n\n"), "no end mark: %s" % raw[-80:])
    return "".join(c["delta"].get("content") or "" for e in events_of(raw) for c in e["choices"])


def text_of_message(raw, stream):
    if not stream:
        return "".join(part["text"] for part in json.loads(raw)["content"])
    events = events_of(raw)
    expect(events[0]["type"] == "message_start" and events[-1]["type"] == "message_stop", str(events))
    return "".join(e["delta"]["text"] for e in events if e["type"] == "content_block_delta")


def text_of_response(raw, stream):
    whole = events_of(raw)[-1]["response"] if stream else json.loads(raw)
    expect(whole["status"] == "completed", str(whole))
    return whole["output"][-1]["content"][0]["text"]


CALLERS = [
    ("/v1/chat/completions", "chat.completions", {"messages": HELLO}, text_of_chat),
    ("/v1/messages?beta=true", "messages", {"messages": HELLO, "max_tokens": 50}, text_of_message),
    ("/v1/responses", "responses", {"input": "Say hello."}, text_of_response),
]


def rows_of(cluster):
    cluster.wait_drained()
    return cluster.postgres.query(
        "SELECT endpoint, tokens_in, tokens_out, cost, http_status FROM decision ORDER BY ts")


SERVED = {"gpt": "chats/gpt", "haiku": "claude/haiku", "flash": "google/flash", "orbit": "cloud/orbit",
          "command": "co/command"}
ASKED_AT = {  # Whole, and as a stream, where the path says so.
    "flash": ("/v1beta/models/up-flash:generateContent",
              "/v1beta/models/up-flash:streamGenerateContent?alt=sse"),
    "orbit": (PROJECT + "/publishers/google/models/up-orbit:generateContent",
              PROJECT + "/publishers/google/models/up-orbit:streamGenerateContent?alt=sse"),
    "command": ("/v2/chat", "/v2/chat"),
}


def test_every_caller_gets_its_own_dialect_from_every_vendor():
    vendor = Vendor()
    with Cluster(config_of(vendor), node_args=["--workers", "1"]) as cluster:
        key, expected = cluster.make_key(), []
        for path, endpoint, body, text_of in CALLERS:
            for model in SERVED:
                for stream in (False, True):
                    asked = dict(body, model=model, stream=stream)
                    status, headers, raw = http("POST", cluster.node_url() + path, asked, key)
                    what = "%s at %s, stream %s" % (endpoint, model, stream)
                    expect(status == 200, "%s: %d %s" % (what, status, raw[:300]))
                    expect(text_of(raw, stream) == TEXT, "%s: %s" % (what, raw[:600]))
                    expect(b"up-" not in raw, "%s names the vendor's model: %s" % (what, raw[:300]))
                    expect(headers["x-steelyard-served"] == SERVED[model], str(headers))
                    went = vendor.asked[-1][0]
                    expect(model not in ASKED_AT or went == ASKED_AT[model][stream], went)
                    expected.append((endpoint, IN, OUT, IN * PRICE_IN + OUT * PRICE_OUT, 200))
        check_rows(cluster, expected)
    return "%d pairs" % len(expected)


def check_rows(cluster, expected):
    found = [(row[0],) + tuple(int(v) for v in row[1:]) for row in rows_of(cluster)]
    expect(found == expected, "rows:\n%s\nexpected:\n%s" % ("\n".join(map(str, found)),
                                                        "\n".join(map(str, expected))))


PLAIN = [  # path, body, endpoint, tokens in and out
    ("/v1/embeddings", {"model": "gpt", "input": ["a", "b"], "encoding_format": "base64"}, "embeddings", IN, 0),
    ("/v1/completions", {"model": "gpt", "prompt": "Say"}, "completions", IN, OUT),
    ("/v1/completions", {"model": "gpt", "prompt": "Say", "stream": True}, "completions", IN, OUT),
    ("/v1/moderations", {"model": "gpt", "input": "a"}, "moderations", 0, 0),
    ("/v1/rerank", {"model": "ranker", "query": "q", "documents": ["a", "b"]}, "rerank", IN, 0),
    ("/v1/messages/count_tokens", {"model": "haiku", "messages": HELLO}, "messages.count_tokens", 0, 0),
]


def test_what_is_no_dialogue_passes_and_is_billed():
    vendor = Vendor()
    with Cluster(config_of(vendor), node_args=["--workers", "1"]) as cluster:
        key, url, expected = cluster.make_key(), cluster.node_url(), []
        for path, body, endpoint, tokens_in, tokens_out in PLAIN:
            status, _, raw = http("POST", url + path, body, key)
            expect(status == 200, "%s: %d %s" % (path, status, raw[:300]))
            went, headers, sent = vendor.asked[-1]
            expect(went == path, "%s went to %s" % (path, went))
            expect(sent == dict(body, model="up-" + body["model"], **(
                {"stream_options": {"include_usage": True}} if body.get("stream") else {})), str(sent))
            if not body.get("stream"):
                expect(json.loads(raw) == {**WHOLE[path](sent["model"]), **(
                    {"model": body["model"]} if b'"model"' in raw else {})}, str(raw))
            expected.append((endpoint, tokens_in, tokens_out, tokens_in * PRICE_IN + tokens_out * PRICE_OUT, 200))
        count = len(vendor.asked)
        status, headers, raw = http("POST", url + "/v1/messages/count_tokens",
                                    {"model": "gpt", "messages": HELLO}, key)
        expect(status == 200 and json.loads(raw)["input_tokens"] > 3, str(raw))
        expect(headers.get("x-steelyard-warnings") == "count_estimated", str(headers))
        status, body = http_json("POST", url + "/v1/embeddings", {"model": "haiku", "input": "a"}, key)
        expect(status == 400 and body["error"]["code"] == "unsupported_parameter", str(body))
        expect(len(vendor.asked) == count, "somebody was asked")
        status, body = http_json("GET", url + "/v1/models?limit=1000", key=key,
                                 headers={"anthropic-version": "2023-06-01"})
        expect([m["id"] for m in body["data"]] == [
            "auto", "command", "flash", "gpt", "haiku", "orbit", "ranker"], str(body))
        rows = rows_of(cluster)
        found = [(row[0],) + tuple(int(v) for v in row[1:]) for row in rows][:len(expected)]
        expect(found == expected, "rows:\n%s\nexpected:\n%s" % (found, expected))


def test_b23_a_coding_agent_is_passed_through_byte_for_byte():
    vendor = Vendor()
    with Cluster(config_of(vendor), node_args=["--workers", "1"]) as cluster:
        key, session = cluster.make_key(), "0190-session"
        body = {"model": "haiku", "max_tokens": 50, "system": [
            {"type": "text", "text": "You are.", "cache_control": {"type": "ephemeral"}}],
            "messages": HELLO + [{"role": "system", "content": "mid"}, {"role": "user", "content": "go"}],
            "new_field": {"x": [1, 2.50]}}
        headers = {"x-api-key": "sk-ant-of-somebody", "anthropic-version": "2023-06-01",
                   "anthropic-beta": "a-2026,b", "anthropic-new": "1", "x-claude-code-session-id": session,
                   "x-claude-code-request-class": "subagent"}
        status, answer, raw = http("POST", cluster.node_url() + "/v1/messages?beta=true", body, key,
                                   headers=headers)
        expect(status == 200, "%d %s" % (status, raw))
        path, sent, seen = vendor.asked[-1]
        sent = {name.lower(): value for name, value in sent.items()}
        expect(path == "/v1/messages?beta=true", path)
        expect(seen == dict(body, model="up-haiku"), str(seen))
        for name in ("anthropic-version", "anthropic-beta", "anthropic-new"):
            expect(sent.get(name) == headers[name], "%s: %s" % (name, sent))
        expect(not any(name.startswith("x-claude-code") for name in sent), str(sent))
        expect("authorization" not in sent and "x-api-key" not in sent, "a credential went up: %s" % sent)
        expect("x-steelyard-session" in answer and answer["request-id"] == answer["x-request-id"], str(answer))

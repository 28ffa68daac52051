#!/usr/bin/env python3
"""mixed_requests.py ROOT NUM SEED [mutated]: NUM request lines for the demo model on standard output, the same for the
same arguments. All kinds and options are mixed, and every twelfth line is bad. mutated: each line has bytes taken out,
put in, doubled or changed, and no line end within.
"""
import json
import random
import sys
from pathlib import Path

BAD_LINES = [
    b'{"prompt": "Once", "max_tokens": 0}',
    b'{"prompt": "Once"',
    b'{"prompt": "On\xff\xfece"}',
    b'{"prompt": "On\x00ce"}',
    b'{"prompt": "a", "prompt": "b"}',
    b'{"prompt": ' + b"[" * 70 + b"]" * 70 + b"}",
    b'{"prompt": [1, 2, 2048]}',
    b'{"prompt": [[5, 6], []]}',
    b'{"custom_id": "bad-url", "url": "/v1/embeddings", "body": {"input": "x"}}',
    b'{"custom_id": "bad-length", "prompt": [' + b"5," * 256 + b"5]}",
    b'{"type": "loglikelihood", "context": "Once", "continuation": ""}',
    b'not JSON at all',
]
# Pieces that a mutation puts in.
PIECES = [b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"null", b"true", b"-", b"1e999", b"99999999999999999999", b"0",
          b"0.1", b"\\u0000", b"\\ud800", b"\x00", b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b'"n": 3,',
          b'"prompt":', b'"temperature": -0.0,', b"[" * 70, b"\xf0\x9f\x98\x80"]


class Requests:
    def __init__(self, texts, seed):
        self.texts = texts
        self.random = random.Random(seed)
        self.beginnings = [" ".join(self.random.choices(texts, k=7)) for _ in range(3)]

    def text(self):
        """Of three, one has a long beginning that others have too."""
        text = self.random.choice(self.texts)
        return self.random.choice(self.beginnings) + " " + text if self.random.random() < 0.3 else text

    def tokens(self, least=1, most=40):
        return [self.random.randint(3, 2047) for _ in range(self.random.randint(least, most))]

    def prompt(self):
        return self.text() if self.random.random() < 0.7 else self.tokens()

    def sampling(self):
        r = self.random
        options = {"max_tokens": r.randint(1, 24), "temperature": r.choice([0, 0.5, 0.8, 1, 1.3])}
        for name, value in {"top_k": r.randint(1, 60), "top_p": round(r.uniform(0.3, 1), 3), "min_p": 0.02,
                            "repetition_penalty": round(r.uniform(0.9, 1.4), 2), "presence_penalty": round(r.uniform(-1, 2), 2),
                            "frequency_penalty": round(r.uniform(-1, 2), 2), "seed": r.randint(-9, 2**64 - 1),
                            "logit_bias": {str(r.randint(3, 2047)): r.randint(-100, 5), "5": 1.5}, "ignore_eos": True,
                            "stop": r.choice([".", ["the", "xyz"], [" a", "\n"]]), "return_token_ids": True}.items():
            if r.random() < 0.25:
                options[name] = value
        if r.random() < 0.3:
            options["min_tokens"] = r.randint(0, options["max_tokens"])
        return options

    def completion(self):
        r = self.random
        body = {"prompt": self.prompt(), **self.sampling()}
        if r.random() < 0.3:
            body["n"] = r.randint(2, 4)
        if r.random() < 0.15:
            body["prompt"] = [self.tokens(), self.tokens()] if r.random() < 0.5 else [self.text(), self.text(), self.text()]
        if r.random() < 0.3:
            body["logprobs"] = r.randint(0, 5)
        if r.random() < 0.2:
            body["echo"] = True
        return body

    def long(self):
        """Grows over several blocks of the KV cache."""
        return {"prompt": self.tokens(), "max_tokens": self.random.randint(120, 200), "ignore_eos": True}

    def scored_prompt(self):
        return {"prompt": self.tokens(2, 200), "echo": True, "max_tokens": 0, "logprobs": self.random.choice([0, 0, 3])}

    def chat(self):
        body = {"messages": [{"role": "user", "content": self.random.choice(self.texts)}], **self.sampling()}
        if self.random.random() < 0.4:
            body |= {"logprobs": True, "top_logprobs": 2}
        return body

    def loglikelihood(self):
        if self.random.random() < 0.5:
            return {"context": self.text(), "continuation": " " + self.random.choice(self.texts)}
        return {"context": self.tokens(), "continuation": self.tokens()}

    def line(self, index):
        if index % 12 == 11:
            return BAD_LINES[index // 12 % len(BAD_LINES)]
        kind = self.random.choices(["completion", "chat", "loglikelihood", "scored", "long"], [12, 2, 3, 1, 2])[0]
        url = {"chat": "/v1/chat/completions", "loglikelihood": "/v1/loglikelihood"}.get(kind, "/v1/completions")
        body = self.scored_prompt() if kind == "scored" else getattr(self, kind)()
        if self.random.random() < 0.5:
            request = {"custom_id": f"request-{index}", "method": "POST", "url": url, "body": body}
        elif kind in ("scored", "long"):
            request = body
        else:
            request = {"type": kind, "custom_id": f"é {index}", **body}
        return json.dumps(request, ensure_ascii=self.random.random() < 0.5).encode()

    def mutated(self, line):
        r = self.random
        data = bytearray(line)
        for _ in range(r.randint(1, 4)):
            at, size = r.randrange(len(data) + 1), r.randint(1, 12)
            kind = r.randrange(4)
            if kind == 0:
                del data[at:at + size]
            elif kind == 1:
                data[at:at] = r.choice(PIECES)
            elif kind == 2:
                data[at:at] = data[at:at + size]
            elif at < len(data):
                data[at] = r.randrange(256)
        text = bytes(data).replace(b"\n", b" ")
        return text if text.strip() else b"{}"


def main():
    root, num, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    texts = [text["prompt"] for text in json.loads((root / "tests/data/demo/texts.json").read_text())]
    requests = Requests(texts, seed)
    lines = [requests.line(index) for index in range(num)]
    if sys.argv[4:] == ["mutated"]:
        lines = [requests.mutated(line) for line in lines]
    sys.stdout.buffer.write(b"".join(line + b"\n" for line in lines))


main()

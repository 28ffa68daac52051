#!/usr/bin/python3
"""check_scores.py: log-probabilities against those that numpy makes of the logits.

check_scores.py batch RESULTS LOGITS.h5     results of batch requests, request i for sequence i of the logits: completions
                                            with echo, logprobs and return_token_ids, or loglikelihoods
check_scores.py score SCORES LOGITS.h5      lines of moesaic score, all tokens but the first scored
check_scores.py score SCORES LOGITS.h5 C    chunks of C tokens: the second half of each but for its first token
"""
import json
import sys

import h5py
import numpy as np

# 64 exponentials are added in float: each addition and each exponential has an error below 2^-24 and 2^-22 of the sum.
# Blocks are added in double.
TOLERANCE = 64 * 2.0**-24 + 2.0**-22


def log_probs(logits):
    wide = logits.astype(np.float64)
    top = wide.max(axis=1, keepdims=True)
    return wide - top - np.log(np.exp(wide - top).sum(axis=1, keepdims=True))


def check(what, found, expected, tolerance):
    worst = abs(np.asarray(found, dtype=np.float64) - np.asarray(expected, dtype=np.float64)).max(initial=0)
    if len(found) != len(expected) or not worst <= tolerance:
        sys.exit(f"{what}: {found} where numpy has {expected}: off by {worst}, tolerance {tolerance}")


def check_completion(what, body, tokens, table):
    choice = body["choices"][0]
    scores = choice["logprobs"]
    if scores["token_logprobs"][0] is not None or scores["top_logprobs"][0] is not None:
        sys.exit(f"{what}: the first token has no log-probability")
    expected = [table[i, tokens[i + 1]] for i in range(len(tokens) - 1)]
    check(what, scores["token_logprobs"][1:], expected, TOLERANCE)
    for i, top in enumerate(scores["top_logprobs"][1:]):
        # Tokens that read the same are one entry, the most probable one.
        best = sorted(table[i], reverse=True)
        found = sorted(top.values(), reverse=True)
        check(f"{what}, alternatives of token {i + 1}", found[:1], best[:1], TOLERANCE)


def check_loglikelihood(what, body, tokens, table):
    first = len(tokens) - body["num_tokens"]
    expected = [table[i - 1, tokens[i]] for i in range(first, len(tokens))]
    check(what, body["token_logprobs"], expected, TOLERANCE)
    check(f"{what}, sum", [body["logprob"]], [sum(body["token_logprobs"])], 0)
    greedy = all(table[i - 1].argmax() == tokens[i] for i in range(first, len(tokens)))
    if body["is_greedy"] != greedy:
        sys.exit(f"{what}: is_greedy is {body['is_greedy']}")


def check_batch(lines, sequences):
    for i, (line, (tokens, table)) in enumerate(zip(lines, sequences, strict=True)):
        body = line["response"]["body"]
        one = check_loglikelihood if body["object"] == "loglikelihood" else check_completion
        one(f"request {i}", body, tokens, table)


def check_score(lines, sequences, first_scored):
    for i, (line, (tokens, table)) in enumerate(zip(lines, sequences, strict=True)):
        expected = [table[k - 1, tokens[k]] for k in range(first_scored, len(tokens))]
        count = len(expected)
        if line["index"] != i or line["tokens"] != count:
            sys.exit(f"sequence {i}: {line}, expected {count} tokens")
        check(f"sequence {i}, logprob", [line["logprob"]], [sum(expected)], count * TOLERANCE)
        if count > 0:
            perplexity = np.exp(-sum(expected) / count)
            check(f"sequence {i}, perplexity", [line["perplexity"]], [perplexity], 2 * TOLERANCE * perplexity)
        elif line["perplexity"] is not None:
            sys.exit(f"sequence {i}: perplexity of nothing is {line['perplexity']}")


def main():
    kind, results, logits = sys.argv[1:4]
    with open(results) as file:
        lines = [json.loads(line) for line in file]
    with h5py.File(logits) as file:
        sequences = [(file[f"seq{i}/tokens"][:], log_probs(file[f"seq{i}/logits"][:])) for i in range(len(lines))]
    if kind == "batch":
        check_batch(lines, sequences)
    else:
        check_score(lines, sequences, int(sys.argv[4]) // 2 + 1 if len(sys.argv) > 4 else 1)
    print(f"{len(lines)} checked")


main()

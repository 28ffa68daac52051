#!/usr/bin/env python3
"""Runs llama.cpp and Moesaic alternately on the same geometry, both with 8 bits a weight (Q8_0; int8), and prints the
rates, their ratios and Moesaic's share of its limit as min / median / max over the rounds. In every round each program
starts anew, since memory of one machine is not equally fast in every process; a ratio is that of one round. What is
missing (llama.cpp, the two models) is made in DIR first: about 5 minutes and 4 GB for mini, 23 GB for slice. Exits with
1 when a run fails or its results are wrong, or when llama.cpp crashes: the table then says in which tests."""
import argparse
import json
import os
import pathlib
import re
import shlex
import signal
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEER = "llama.cpp"
BATCHED_SEQUENCES, BATCHED_TOKENS = [4, 16, 32], 32
LONG_PROMPT = 2048  # above, a process of its own, and llama.cpp without a warm-up (Moesaic always has one)


class Failure(Exception):
    pass


class Crash(Exception):
    """A program that a signal ended; its text is the signal's name."""


def log(text):
    print(text, file=sys.stderr, flush=True)


def run(command, **options):
    """Standard output of a command. Its messages are shown when it fails; a signal that ended it is a Crash."""
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    except OSError as error:
        raise Failure(f"{shlex.join(map(str, command))}: {error}") from error
    ended_by = -done.returncode if done.returncode < 0 else done.returncode - 128  # the latter from a shell in --prefix
    if ended_by in set(signal.Signals):
        raise Crash(signal.Signals(ended_by).name)
    if done.returncode != 0:
        raise Failure(f"{shlex.join(map(str, command))}: exit code {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout


def run_own(command, **options):
    """As run(), for programs of ours and for builds: there a crash is a failure like any other."""
    try:
        return run(command, **options)
    except Crash as crash:
        raise Failure(f"{shlex.join(map(str, command))}: ended by {crash}") from crash


class Parts:
    """The programs and models in DIR; makes those that are missing."""

    def __init__(self, options):
        self.prefix = shlex.split(options.prefix)
        directory = options.dir.resolve()
        self.llama_bin = directory / "llama.cpp" / "bin"
        self.store, self.gguf = directory / f"{options.preset}.h5", directory / f"{options.preset}-q8_0.gguf"
        directory.mkdir(parents=True, exist_ok=True)
        build = pathlib.Path(os.environ.get("MOESAIC_BUILD_DIR", ROOT / "build"))
        self.make(build / "bin" / "moesaic", [ROOT / "launch" / "build", "release", "moesaic"])
        self.make(self.llama_bin / "llama-batched-bench", [ROOT / "launch" / "peers" / "build-llama.cpp", directory])
        self.make(self.store, self.moesaic("synth", "--preset", options.preset, "--out", self.store))
        if not self.gguf.exists():
            geometry = run_own(self.moesaic("inspect", self.store, "--json"))
            self.make(self.gguf, [ROOT / "launch" / "peers" / "write-gguf", self.gguf], input=geometry)
        # libgomp's threads are to spin, as llama.cpp expects, whatever the environment says
        self.llama_environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}

    @staticmethod
    def make(path, command, **options):
        if not path.exists():
            log(f"making {path}")
            run_own(command, **options)

    @staticmethod
    def moesaic(*arguments):
        return [ROOT / "launch" / "env", "moesaic", *arguments]

    def timed_moesaic(self, benchmark, *arguments):
        return json.loads(run_own([*self.prefix, *self.moesaic("bench", benchmark, *arguments, "-o", "json")]))

    def timed_llama(self, program, *arguments):
        with open(self.gguf, "rb") as model:  # into the page cache: the model is mapped, not read
            while model.read(1 << 24):
                pass
        command = [*self.prefix, self.llama_bin / program, "-m", self.gguf, *arguments]
        return run(command, env=self.llama_environment)


class Group:
    """Tests that one process of each program runs. Both functions give what was found, by the name of a test."""

    def __init__(self, prompts=(), generated=(), batched=False, warm=True):
        self.prompts, self.generated, self.batched, self.warm = prompts, generated, batched, warm
        self.tests = [f"pp{n}" for n in prompts] + [f"tg{n}" for n in generated]
        if batched:
            self.tests = [f"tg{BATCHED_TOKENS} x {n}" for n in BATCHED_SEQUENCES]

    def shape(self):
        return ["-p", ",".join(map(str, self.prompts)) or "0", "-n", ",".join(map(str, self.generated)) or "0"]

    def of_llama(self, parts, threads):
        """Tokens a second."""
        if self.batched:
            most = max(BATCHED_SEQUENCES) * (BATCHED_TOKENS + 1)
            text = parts.timed_llama("llama-batched-bench", "-c", most, "-t", threads, "-tb", threads, "-npp", 1, "-ntg",
                                     BATCHED_TOKENS, "-npl", ",".join(map(str, BATCHED_SEQUENCES)),
                                     "--output-format", "jsonl")
            records = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
            return {f"tg{r['tg']} x {r['pl']}": r["speed_tg"] for r in records}
        text = parts.timed_llama("llama-bench", *self.shape(), "-t", threads, "-r", 1, "-o", "json",
                                 *([] if self.warm else ["--no-warmup"]))
        return {f"pp{r['n_prompt']}" if r["n_prompt"] else f"tg{r['n_gen']}": r["avg_ts"] for r in json.loads(text)}

    def of_moesaic(self, parts, threads, numerics):
        """Records of `bench model`."""
        shape = self.shape()
        if self.batched:
            shape = ["-p", 0, "-n", BATCHED_TOKENS, "-b", ",".join(map(str, BATCHED_SEQUENCES))]
        records = parts.timed_moesaic("model", "-m", parts.store, *shape, "-t", threads, "-r", 1,
                                      "--numerics", numerics)
        return {r["test"] + (f" x {r['batch']}" if self.batched else ""): r for r in records}


def groups_of(names):
    prompts = [int(name[2:]) for name in names if name.startswith("pp")]
    short = [n for n in prompts if n <= LONG_PROMPT]
    generated = [int(name[2:]) for name in names if name.startswith("tg")]
    groups = [Group(prompts=short, generated=generated)] if short or generated else []
    if "batched" in names:
        groups.append(Group(batched=True))
    return groups + [Group(prompts=[n], warm=False) for n in prompts if n > LONG_PROMPT]


class Results:
    """What was found, a value a round."""

    def __init__(self):
        self.machine = {}  # (threads, test of bench machine) -> rates
        self.units = {}
        self.llama_ts = {}  # (threads, test)
        self.llama_crashes = {}  # (threads, test) -> name of the signal
        self.records = {}  # (threads, test, numerics) -> records of bench model

    def add_machine(self, threads, records):
        for r in records:
            self.machine.setdefault((threads, r["test"]), []).append(r["rate"])
            self.units[r["test"]] = r["unit"]

    def add(self, threads, group, found, numerics=None):
        for test in group.tests:
            if test not in found:
                raise Failure(f"{numerics or PEER}: no result of {test}, only of {', '.join(found) or 'nothing'}")
            key, of_all = (threads, test), self.llama_ts
            if numerics:
                key, of_all = (threads, test, numerics), self.records
                self.check(key, found[test])
            of_all.setdefault(key, []).append(found[test])

    def check(self, key, record):
        """The logits hash must be that of every earlier round and thread count."""
        for (_, test, numerics), earlier in self.records.items():
            if (test, numerics) == key[1:] and earlier[0]["logits_hash"] != record["logits_hash"]:
                raise Failure(f"{numerics} {test}: logits hash {record['logits_hash']} with {key[0]} threads, "
                              f"{earlier[0]['logits_hash']} before")

    def rows(self):
        for (threads, test, numerics), records in sorted(self.records.items(), key=lambda item: item[0][0]):
            crash, ours = self.llama_crashes.get((threads, test)), [r["avg_ts"] for r in records]
            llama = [] if crash else self.llama_ts[threads, test]  # a peer that crashes now and then has no rate
            yield {"test": test, "n_threads": threads, "numerics": numerics, "llama_crash": crash,
                   "llama_ts": llama, "moesaic_ts": ours, "ratio": [b / a for a, b in zip(llama, ours)],
                   "share_of_limit": [r["share_of_limit"] for r in records],
                   "read_gbps": [r["read_gbps"] for r in records], "logits_hash": records[0]["logits_hash"]}


def measure(options, parts):
    results = Results()
    for round_idx in range(options.rounds):
        for threads in options.threads:
            log(f"round {round_idx + 1} of {options.rounds}, {threads} thread{'s' if threads > 1 else ''}")
            results.add_machine(threads, parts.timed_moesaic("machine", "-t", threads))
            for group in groups_of(options.tests):
                try:
                    results.add(threads, group, group.of_llama(parts, threads))
                except Crash as crash:
                    log(f"{PEER} crashed: ended by {crash} in {', '.join(group.tests)}")
                    results.llama_crashes.update({(threads, test): str(crash) for test in group.tests})
                for numerics in options.numerics:
                    results.add(threads, group, group.of_moesaic(parts, threads, numerics), numerics)
    return results


def summary(values):
    """None without values: of a peer that crashed."""
    if not values:
        return None
    return {"min": min(values), "median": statistics.median(values), "max": max(values), "samples": values}


def print_json(options, results):
    rows = [{k: summary(v) if isinstance(v, list) else v for k, v in row.items()} for row in results.rows()]
    machine = [{"test": test, "n_threads": threads, "unit": results.units[test], "rate": summary(rates)}
               for (threads, test), rates in results.machine.items()]
    print(json.dumps({"preset": options.preset, "rounds": options.rounds, "machine": machine, "tests": rows}, indent=2))


def spread(values, factor=1.0):
    """min / median / max with about three digits; a dash without values."""
    if not values:
        return "-"
    three = [factor * f(values) for f in (min, statistics.median, max)]
    return " / ".join(f"{x:.{2 if x < 10 else 1 if x < 100 else 0}f}" for x in three)


def print_table(lines):
    widths = [max(map(len, column)) for column in zip(*lines)]
    for i, line in enumerate(lines):
        print("| " + " | ".join(cell.rjust(width) for cell, width in zip(line, widths)) + " |")
        if i == 0:
            print("|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")


def print_markdown(options, results):
    print(f"{options.preset}, {options.rounds} round{'s' if options.rounds > 1 else ''}: min / median / max\n")
    print_table([["machine", "threads", "rate", "unit"]] +
                [[test, str(threads), spread(rates), results.units[test]]
                 for (threads, test), rates in results.machine.items()])
    print()
    print_table([["test", "threads", "numerics", "llama.cpp t/s", "Moesaic t/s", "ratio", "% of limit"]] +
                [[row["test"], str(row["n_threads"]), row["numerics"],
                  f"crashed ({row['llama_crash']})" if row["llama_crash"] else spread(row["llama_ts"]),
                  spread(row["moesaic_ts"]), spread(row["ratio"]), spread(row["share_of_limit"], 100)]
                 for row in results.rows()])


def list_of(pattern, convert=str):
    def parse(text):
        words = text.split(",")
        for word in words:
            if not re.fullmatch(pattern, word):
                raise argparse.ArgumentTypeError(f"'{word}' in '{text}'")
        return list(dict.fromkeys(map(convert, words)))
    return parse


def parse_arguments():
    a = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    default = pathlib.Path(os.environ.get("MOESAIC_BUILD_DIR", ROOT / "build")) / "compare"
    a.add_argument("--dir", type=pathlib.Path, default=default, help="for llama.cpp and the models; default: build/compare")
    a.add_argument("--preset", choices=["tiny", "mini", "slice"], default="mini", help="geometry")
    a.add_argument("--threads", type=list_of("[1-9][0-9]*", int), default=[1, 2], help="a list; default: 1,2")
    a.add_argument("--numerics", type=list_of("[a-z0-9]+"), default=["w8a16", "w8a8"], help="a list; default: w8a16,w8a8")
    a.add_argument("--rounds", type=int, choices=range(1, 1000), metavar="N", default=3, help="default: 3")
    a.add_argument("--tests", type=list_of("(pp|tg)[1-9][0-9]*|batched"), default=["pp512", "tg128", "batched"],
                   help="a list of ppN, tgN and batched (tg32 of 4, 16 and 32 sequences); default: pp512,tg128,batched")
    a.add_argument("--prefix", default="", help="a command to run each timed process with, for example 'numactl -N 0'")
    a.add_argument("-o", "--output", choices=["md", "json"], default="md")
    return a.parse_args()


if __name__ == "__main__":
    arguments = parse_arguments()
    try:
        parts = Parts(arguments)
        found = measure(arguments, parts)
        (print_json if arguments.output == "json" else print_markdown)(arguments, found)
        if found.llama_crashes:
            raise Failure(f"{PEER} crashed in {len(found.llama_crashes)} tests, which therefore have no ratio. A build of "
                          f"another machine or time may be the cause: remove {parts.llama_bin.parent} to build it anew")
    except Failure as failure:
        log(f"launch/compare-llama.cpp: {failure}")
        sys.exit(1)

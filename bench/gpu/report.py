#!/usr/bin/env python3
"""Puts the figures of one run of bench/gpu/run.sh into report.md and report.json. Needs the standard library only.

  report.py --work FOLDER_OF_THE_RUN --out FOLDER --pack FOLDER [--seconds N]
  report.py --dry --work FOLDER_OF_THE_RUN --out FOLDER --pack FOLDER --budget N      dry-run.md instead, of a run without a GPU
"""
import argparse
import datetime
import json
import os
import pathlib
import re
import subprocess

GOALS = """| what | goal | measured |
| --- | --- | --- |
"""


def objects(path):
    """The JSON objects of a file of JSON lines."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(errors="replace").splitlines() if line.startswith("{")]


def rows(path):
    """The rows of a file of one JSON value, an array or an object with `rows`; a file cut off by a time limit counts as none."""
    try:
        value = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return []
    return value["rows"] if isinstance(value, dict) else value


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def shown(value):
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def table(entries):
    columns = list(dict.fromkeys(key for entry in entries for key in entry))
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(shown(entry.get(c)) for c in columns) + " |" for entry in entries]
    return "\n".join(lines) + "\n"


def goals(parts):
    """The goals of an H100 against the figures of this run; a row says when its step did not run."""
    def best(entries, key, **where):
        found = [e[key] for e in entries if key in e and all(e.get(k) == v for k, v in where.items())]
        return max(found) if found else None

    def row(what, goal, value, unit):
        return f"| {what} | {goal} | {'not run' if value is None else f'{value:,.4g} {unit}'} |\n"

    matmul = [r for r in parts["matmul"] if r["op"].startswith("matmul") and " 8192 N 8192" in r["shape"]]
    vendor = [r["rate"] for r in parts["matmul"] if r["op"] == "cublaslt" and "8192 N 8192" in r["shape"]]
    attention = parts["attention"]
    train, sample = parts["train"], parts["sample"]

    def ours(shape):
        return best(train, "tokensPerSecond", engine="subtext", shape=shape)

    def torch(shape):
        found = [r["tokensPerSecond"] for r in train if r["engine"].startswith("PyTorch") and r["shape"] == shape]
        return max(found) if found else None

    def ratio(a, b):
        return a / b if a and b else None

    text = GOALS
    for layout in ("nt", "nn", "tn"):
        share = [r["share"] * 100 for r in matmul if r["op"] == "matmul_" + layout]
        text += row(f"bf16 matmul 8192^3 {layout}", ">= 90 % of cuBLASLt", share[0] if share else None, "%")
    text += row("cuBLASLt, the ceiling of this run", "", max(vendor) if vendor else None, "TFLOP/s")
    for head, goal in ((64, 400), (128, 550)):
        text += row(f"attention forward, head {head}, best of T 2k-16k", f">= {goal} TFLOP/s", best(attention, "forward_tflops", head=head), "TFLOP/s")
    text += row("attention backward, head 128, best of T 2k-16k", ">= 450 TFLOP/s", best(attention, "backward_tflops", head=128), "TFLOP/s")
    text += row("train step 1.1B, T 2048", "some 70 k tok/s", ours("tinyllama"), "tok/s")
    text += row("the same against compiled PyTorch", ">= 1.15", ratio(ours("tinyllama"), torch("tinyllama")), "x")
    flops = best(train, "tflops", engine="subtext", shape="tinyllama")
    text += row("the same, share of the bf16 ceiling", ">= 60 %", 100 * flops / max(vendor) if flops and vendor else None, "%")
    text += row("train step 124M, T 1024", ">= 500 k tok/s", ours("gpt124m"), "tok/s")
    text += row("E-step draws, 1.1B, 32 prompts x 8 samples", ">= 80 k tok/s", best(sample, "tokensPerSecond", engine="subtext"), "tok/s")
    text += row("largest difference of log-probabilities, drawn against scored", "0", best(sample, "largestLogProbDifference", engine="subtext"), "nats")
    return text


def last(path, pattern):
    """The last line of a log that has the pattern, in one cell of a table."""
    found = [line for line in path.read_text(errors="replace").splitlines() if re.search(pattern, line)] if path.exists() else []
    return found[-1].strip().replace("|", "\\|") if found else ""


def tests(path):
    """What JUnit's launcher counted."""
    counted = dict(reversed(m) for m in re.findall(r"\[ *(\d+) tests (\w+)", path.read_text(errors="replace"))) if path.exists() else {}
    return ", ".join(f"{counted[k]} {k}" for k in ("found", "skipped", "aborted", "successful", "failed") if k in counted)


def dry(options, steps):
    """The page of a run without a GPU: what the pack proved on the CPU, and what a GPU machine would run."""
    work = options.work
    ran = [s for s in steps if s["status"] != "device"]
    device = [s for s in steps if s["status"] == "device"]
    archive = pathlib.Path(".pack/pack.tar.gz")
    cpu = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    cuda = "with" if (options.pack / "native/libsubtext_cuda.so").exists() else "without"
    said_of = {
        "ops": ("every op on the CPU against long double", last(work / "ops.log", "passed")),
        "ops-exact": ("bit for bit: rows, cache, threads, instruction sets", last(work / "ops-exact.log", "passed")),
        "junit": ("the JUnit suite of bindings, engine and trainer on the CPU", tests(work / "junit.log")),
        "doctor": ("doctor", "; ".join((last(work / "doctor.log", "^java"), last(work / "doctor.log", "^cuda"))).replace(str(options.pack), "PACK")),
        "em": ("em, CPU, with its baselines", last(work / "em.log", "iteration [0-9]+: accuracy")),
        "verify": ("verify", last(work / "verify.log", ".").replace(str(work), "WORK")),
        "em-cuda": ("em --device cuda: one line, exit code 4", last(work / "em-cuda.log", ".").replace(str(options.pack), "PACK")),
    }
    rows_of = "".join(f"| {said_of[s['step']][0]} | {'passed' if s['status'] == '0' else 'FAILED, status ' + s['status']} | "
                      f"{said_of[s['step']][1]} |\n" for s in ran)
    usual = sum(s["usual"] for s in device)
    left_out = ", ".join(f"{name}Test" for name in (work / "except").read_text().strip().split("|")) if (work / "except").exists() else "nothing"
    listed = "".join(f"| {s['step']} | {s['usual']} | {s['limit']} |\n" for s in device)
    return f"""# The GPU suite, without a GPU

```
bench/gpu/pack.sh          # .pack/pack.tar.gz: {archive.stat().st_size / 2**20:.1f} MiB of at most 60, {cuda} the CUDA library
bench/gpu/run.sh --dry     # unpacks it, runs what it carries on the CPU by its own Java runtime, writes this page
```

{os.cpu_count()} cores of {cpu}, {datetime.date.today()}, commit {(options.pack / 'commit').read_text().strip()[:12]}. The GPU's own report is [h100.md](h100.md); what
the compiler makes of each kernel is in [kernels.md](kernels.md).

| step | outcome | what it said |
| --- | --- | --- |
{rows_of}
Left out of the JUnit suite here, and run by `./mvnw verify`: {left_out}, and the module `cli`.

On a GPU machine `bench/gpu/run.sh` then takes these, in this order: some {usual} s on an H100 of the {options.budget} s that it may. The figures are of
`h100.json` where it has them and estimates otherwise. A step is stopped at its limit, one whose usual time is not left is cut and named.

| step | usual s | limit s |
| --- | --- | --- |
{listed}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--pack", type=pathlib.Path, default=pathlib.Path(".pack"))
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--budget", type=int, default=480)
    parser.add_argument("--dry", action="store_true")
    options = parser.parse_args()
    if options.dry:
        (options.out / "dry-run.md").write_text(dry(options, objects(options.work / "steps.jsonl")))
        return
    packed = options.pack / "commit"
    facts = {
        "gpu": said("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"),
        "nvcc": next((line for line in said("nvcc", "--version").splitlines() if "release" in line), ""),
        "PyTorch": said("python3", "-c", "import torch; print(torch.__version__)"),
        "commit": packed.read_text().strip() if packed.exists() else said("git", "rev-parse", "HEAD"),
        "command": "bench/gpu/run.sh",
        "seconds": options.seconds,
    }
    work = options.work
    parts = {
        "steps": objects(work / "steps.jsonl"),
        "train": objects(work / "train.jsonl"),
        "sample": objects(work / "sample.jsonl"),
        "memory": rows(work / "memory.json"),
        "matmul": rows(work / "matmul.json"),
        "matmul in turns": rows(work / "matmul_square.json"),
        "matmul in turns, no clusters": rows(work / "matmul_square_alone.json"),
        "matmul, weight gradients cut along k": rows(work / "matmul_split.json"),
        "train, weight gradients cut along k": objects(work / "train-split.jsonl"),
        "attention": [r for r in rows(work / "attention_lengths.json") if r.get("op") != "exactness"],
        "attention by PyTorch": rows(work / "attention_torch.json"),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "report.json").write_text(json.dumps({"facts": facts, **parts}, indent=1) + "\n")
    text = ["# The GPU suite\n", *(f"- {key}: {value}" for key, value in facts.items()), "\n## Goals\n", goals(parts)]
    for name, entries in parts.items():
        if entries:
            text += [f"## {name}\n", table(entries)]
    (options.out / "report.md").write_text("\n".join(text) + "\n")
    print(goals(parts))


if __name__ == "__main__":
    main()

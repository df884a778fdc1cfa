#!/usr/bin/env python3
"""Puts the figures of one run of bench/gpu/run.sh into report.md and report.json: standard library only.

  report.py --work FOLDER_OF_THE_RUN --out FOLDER
"""
import argparse
import json
import pathlib
import subprocess


def lines(path):
    """The JSON objects of a file of JSON lines; other lines are output for people."""
    found = []
    if path.exists():
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                try:
                    found.append(json.loads(line))
                except json.JSONDecodeError:
                    pass
    return found


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def table(rows, columns):
    head = "| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns) + "\n"
    return head + "".join("| " + " | ".join(str(row.get(c, "")) for c in columns) + " |\n" for row in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=int, default=0)
    options = parser.parse_args()
    facts = {
        "gpu": said("nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem", "--format=csv,noheader"),
        "nvcc": (said("nvcc", "--version").splitlines() or [""])[-1],
        "torch": said("python3", "-c", "import torch; print(torch.__version__)"),
        "commit": said("git", "rev-parse", "HEAD") or (pathlib.Path(".pack/commit").read_text().strip()
                                                      if pathlib.Path(".pack/commit").exists() else ""),
        "command": "bench/gpu/run.sh",
        "seconds": options.seconds,
    }
    sections = {name: lines(options.work / f"{name}.jsonl")
                for name in ["steps", "kernels", "attention", "attention-torch", "train", "sample"]}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "report.json").write_text(json.dumps({"facts": facts, **sections}, indent=1) + "\n")
    text = ["# GPU suite\n", *(f"- {k}: {v}" for k, v in facts.items()), ""]
    for name, rows in sections.items():
        if rows:
            columns = list(dict.fromkeys(key for row in rows for key in row))
            text += [f"## {name}\n", table(rows, columns)]
    (options.out / "report.md").write_text("\n".join(text) + "\n")
    print("\n".join(text)[-9000:])


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What the compiler makes of every CUDA kernel, without a GPU: registers, spills, shared memory, tensor-core and copy instructions in the
machine code, theoretical occupancy. Needs nvcc and c++filt; writes a Markdown table to standard output.

  bench/gpu/resources.py [--work FOLDER] > bench/results/kernels.md

Compiles each file of native/cuda once for sm_90a and once for sm_80 (some minutes; what is in the folder already is not compiled again).
Registers, spills and static shared memory are ptxas's own words. Instructions are counted in the cubin: an instruction is 16 bytes, its
opcode the low 12 bits, and the opcodes below were matched against mma.sync, wgmma, ldmatrix and cp.async in the PTX of the same kernels.
Block sizes are the kernels' launch bounds; dynamic shared memory follows the formulas of the launchers.
"""
import argparse
import collections
import pathlib
import re
import struct
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
OPCODES = {0x23C: "HMMA", 0x9F0: "HGMMA", 0x83B: "LDSM", 0xFAE: "LDGSTS", 0x5B4: "UTMALDG", 0x3B5: "UTMASTG", 0x3B6: "UTMAREDG"}
# registers, threads, blocks and bytes of shared memory of a multiprocessor; 1 KiB of a block is the system's
MACHINES = {"90a": (65536, 2048, 32, 228 * 1024), "80": (65536, 2048, 32, 164 * 1024)}


def compiled(work):
    work.mkdir(parents=True, exist_ok=True)
    native = ROOT / "native"
    for source in sorted((native / "cuda").glob("*.cu")):
        for architecture in MACHINES:
            cubin = work / f"{source.stem}.sm_{architecture}.cubin"
            log = cubin.with_suffix(".log")
            if not (cubin.exists() and log.exists()):
                command = ["nvcc", "-std=c++17", "-cubin", f"-arch=sm_{architecture}", "-fmad=false", "-Xptxas", "-v", f"-I{native}/include",
                           f"-I{native}/common", "-O3", "-DNDEBUG", "-o", str(cubin), str(source)]
                log.write_text(subprocess.run(command, capture_output=True, text=True, check=True).stderr)
            yield source.stem, architecture, cubin.read_bytes(), log.read_text()


def sections(elf):
    offset, = struct.unpack_from("<Q", elf, 40)
    count, names = struct.unpack_from("<HH", elf, 60)
    headers = [struct.unpack_from("<IIQQQQIIQQ", elf, offset + 64 * i) for i in range(count)]
    strings = headers[names][4]
    for header in headers:
        at = strings + header[0]
        yield elf[at:elf.index(b"\0", at)].decode(), elf[header[4]:header[4] + header[5]]


def largest_block(info):
    """The launch bound: attribute 5 of a kernel's .nv.info."""
    at = 0
    while at < len(info):
        form, attribute = info[at], info[at + 1]
        if form == 4:
            size, = struct.unpack_from("<H", info, at + 2)
            if attribute == 5:
                x, y, z = struct.unpack_from("<III", info, at + 4)
                return x * y * z
            at += 4 + size
        else:
            at += 4
    return 1024


def dynamic(name):
    """Dynamic shared memory in bytes, as the launchers in native/cuda ask for it."""
    numbers = [int(x) for x in re.findall(r"\d+", name.split("<", 1)[1])] if "<" in name else []
    if name.startswith("sm90::matmul"):
        tile, consumers = re.search(r"Plan<(\d+), (\d+)>", name).groups()
        tile, consumers = int(tile), int(consumers)
        stage = (64 * consumers + tile) * 128
        stages = 192 * 1024 // stage
        return 1024 + stages * stage + 4 * consumers * 16 * min(tile, 64) * 4 + 2 * stages * 8
    if name.startswith("mma::matmul"):
        return 4 * (numbers[0] + numbers[1]) * 32 * 2
    if "sm90" in name:
        d, forward = numbers[0], "::forward" in name
        groups, stages = (3, 6 if d == 64 else 4) if forward else (2, 4 if d == 64 else 3)
        tile = 64 * d
        side = 0 if not "backwardKeys" in name else 2 * 64 * 4
        return 1024 + (1 if forward else 2) * groups * tile * 2 + stages * (4 * tile + side) + (2 * stages + 1) * 8
    if "attentionBackwardKeys<" in name:
        d, mt, warps = numbers[:3]
        step = 64 if d <= 128 else 32
        return (2 * warps * mt * 16 * d + 4 * step * d) * 2 + 16 * step
    if "attentionBackwardQueries<" in name:
        d, mt, warps = numbers[:3]
        return (2 * warps * mt * 16 * d + 4 * (64 if d <= 64 else 32) * d) * 2
    if "attentionWide<" in name:
        d, mt, warps = numbers[:3]
        return (warps * mt * 16 + 256) * d * 2
    if "attentionNarrow<" in name:
        d = numbers[0]
        return ((4 if d <= 32 else 3 if d <= 96 else 2) * 128 * d + 16 * d + 1024) * 2 + 1280
    if "attentionF32<" in name:
        d, rows = numbers[0], 16 * numbers[1]
        return ((rows + 128) * (d + 4) + rows * 68) * 4
    if re.search(r"attentionBackward\w+F32<", name):
        d = numbers[0]
        return ((128 + 128) * (d + 4) + 64 * 68 + 128) * 4
    return 0


# What a kernel moves and computes, as its file's head derives it. Products, attention: FLOP per byte of device memory at the shape named.
WORK = [
    (r"^(sm90|mma)::matmul", "2 M N K FLOP on 2 (MK + NK + MN) bytes: 2,731 FLOP/byte at 8192^3, 64 at M 64 of a 1.1B model's weights"),
    (r"^f32::matmul", "2 M N K FLOP on 4 (MK + NK + MN) bytes: 1,365 FLOP/byte at 8192^3"),
    (r"[Bb]ackward(Keys|Queries)", "keys 8 D, queries 6 D FLOP a pair of query and key: compute-bound, some T/3 FLOP/byte in bf16"),
    (r"attentionNarrow|attentionPlain", "4 D FLOP a key on 4 D bytes of cache: group size FLOP/byte, bound by memory"),
    (r"attentionDelta", "o and its gradient once: 2 FLOP on 4 bytes in bf16, bound by memory"),
    (r"attention(Wide|F32)|sm90.*::forward", "4 D FLOP a pair of query and key: compute-bound, some T/4 FLOP/byte in bf16"),
    (r"rmsnorm|forwardAny|backwardAny|^(st::)?(forward|backward)<|sumPartials", "forward 2 x NC elements, backward 4 x NC: < 2 FLOP/byte"),
    (r"swiglu", "forward 3 NF, backward 5 NF elements: some 3 FLOP/byte"),
    (r"rope", "2 elements moved per element: 1.5 FLOP/byte"),
    (r"adamw", "7 f32 and 1 bf16 an element, 30 bytes: 0.6 FLOP/byte"),
    (r"crossEntropy|logProb", "logits once (and the gradient in their place): 1 FLOP/byte"),
    (r"sample", "logits once; bound by Philox and logarithms, some 40 integer operations an entry"),
    (r"squares|sumDoubles", "4 bytes an element: 0.5 FLOP/byte"),
    (r".", "moves bytes only"),
]


def occupancy(architecture, registers, threads, shared):
    all_registers, all_threads, blocks, memory = MACHINES[architecture]
    warps = -(-threads // 32)
    per_warp = -(-registers * 32 // 256) * 256
    limits = {"threads": all_threads // (warps * 32), "registers": all_registers // per_warp // warps, "shared memory": memory // (shared + 1024),
              "blocks": blocks}
    resident = min(limits.values())
    return resident, 100 * resident * warps * 32 // all_threads, min(limits, key=limits.get)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/tmp/subtext-resources"))
    options = parser.parse_args()
    rows = []
    for stem, architecture, elf, log in compiled(options.work):
        used = {}
        for part in log.split("Compiling entry function '")[1:]:
            name = part[:part.index("'")]
            number = lambda pattern: int((re.search(pattern, part) or [0, 0])[1])
            used[name] = (number(r"Used (\d+) registers"), number(r"(\d+) bytes spill stores"), number(r"(\d+) bytes spill loads"),
                          number(r"(\d+) bytes smem"))
        info, code = {}, {}
        for name, content in sections(elf):
            if name.startswith(".nv.info."):
                info[name[9:]] = largest_block(content)
            elif name.startswith(".text."):
                code[name[6:]] = collections.Counter(struct.unpack_from("<Q", content, at)[0] & 0xFFF for at in range(0, len(content), 16))
        for name, values in used.items():
            rows.append((stem, architecture, name, *values, info[name], code[name]))
    plain = subprocess.run(["c++filt"], input="\n".join(r[2] for r in rows), capture_output=True, text=True, check=True).stdout.splitlines()
    version = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    print(f"# What the compiler makes of the CUDA kernels\n\nBy `bench/gpu/resources.py`, {version}. A kernel of wgmma is empty for sm_80 and"
          " left out there. Occupancy is theoretical, in resident blocks and in percent of 2,048 threads, with what limits it; kernels of"
          " warpgroups that fill a multiprocessor by design have one block. Spilled bytes are stores / loads, of a thread.\n")
    spilling = shown = 0
    for architecture in MACHINES:
        print(f"\n## sm_{architecture}\n\n| file | kernel | threads | registers | spilled | static + dynamic shared memory | blocks | occupancy | limit |"
              " instructions | work |\n|" + " --- |" * 11)
        for row, name in sorted(zip(rows, plain), key=lambda pair: (pair[0][0], pair[1])):
            stem, which, _, registers, stores, loads, static, threads, counts = row
            name = re.sub(r"^void ", "", name)
            name = re.sub(r"\(.*", "", name.replace("(anonymous namespace)::", "").replace("(st::Layout)0", "NT").replace("(st::Layout)1", "NN")
                          .replace("(st::Layout)2", "TN")).replace("st::", "", 1).replace("st::sm90::Plan", "Plan")
            if which != architecture or architecture == "80" and "sm90" in name:
                continue
            shared = dynamic(name)
            blocks, share, limit = occupancy(architecture, registers, threads, static + shared)
            seen = ", ".join(f"{OPCODES[o]} {counts[o]}" for o in OPCODES if counts[o])
            work = next(text for pattern, text in WORK if re.search(pattern, name))
            spilling += stores > 0
            shown += 1
            print(f"| {stem} | `{name}` | {threads} | {registers} | {f'{stores} / {loads}' if stores else 0} | {static} + {shared} | {blocks} |"
                  f" {share} % | {limit} | {seen} | {work} |")
    print(f"\n{spilling} of {shown} kernels spill.")


if __name__ == "__main__":
    main()

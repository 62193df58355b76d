#!/usr/bin/env python3
"""Tests of the program `qlinear` through its command line. Needs Python's standard library only.

usage: cli_test.py QLINEAR GOLDEN_FOLDER [unittest options]
"""

import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import files
from files import Gguf, gguf_bytes, nmse, npy_bytes, read_npy, same_floats, write_npy

QLINEAR = sys.argv[1]
GOLDEN = Path(sys.argv[2])
GOLDEN_FILES = sorted(GOLDEN.glob("*.gguf"))
COMMANDS = ["info", "verify", "dequantize", "apply", "bench", "explain", "report", "make-sample"]
NMSE_LIMIT = {"f32": 1e-11, "a16": 1e-6, "a8": 1e-4}


def run(*arguments, stdout=subprocess.PIPE, env=None):
    command = [QLINEAR, *map(str, arguments)]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=env, timeout=300)


class CliTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="qlinear-cli-")
        cls.here = Path(cls.folder.name)
        cls.sample = cls.here / "sample.gguf"
        made = run("make-sample", cls.sample, "--blocks", 2)
        assert made.returncode == 0, made.stderr

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def ok(self, *arguments):
        result = run(*arguments)
        self.assertEqual(result.returncode, 0, f"{arguments}: {result.stderr}")
        self.assertEqual(result.stderr, "")
        return result.stdout

    def json(self, *arguments):
        return json.loads(self.ok(*arguments, "--json"))

    def fails(self, status, pattern, *arguments):
        """Ends with `status` and exactly one line `qlinear: ...` on standard error, nothing on the other."""
        result = run(*arguments)
        self.assertEqual(result.returncode, status, f"{arguments}: {result.stdout}{result.stderr}")
        self.assertEqual(result.stdout, "", arguments)
        self.assertRegex(result.stderr, r"\Aqlinear: [^\n]+\n\Z")
        self.assertRegex(result.stderr, pattern)


class Usage(CliTest):
    def test_help_and_version(self):
        self.assertIn("make-sample", self.ok("--help"))
        self.assertRegex(self.ok("--version"), r"\Aqlinear \d+\.\d+\.\d+\n\Z")
        for command in COMMANDS:
            text = self.ok(command, "--help")
            self.assertIn(f"qlinear {command}", text)
            self.assertIn("--json", text)
            self.assertLess(max(map(len, text.splitlines())), 200)

    def test_usage_errors_are_status_2(self):
        f = GOLDEN / "q4_0.gguf"
        for arguments in [
            [], ["frobnicate"], ["info"], ["info", f, "more"], ["info", f, "--frob"], ["verify"], ["dequantize", f],
            ["dequantize", f, "w.weight"], ["apply", f, "w.weight", "-i", "x"], ["explain", f],
            ["verify", f, "--m", "1,,2"], ["verify", f, "--m", ""], ["verify", f, "--m", "0"],
            ["verify", f, "--m", "65537"], ["verify", f, "--m", "-1"], ["verify", f, "--m", "1x"],
            ["verify", f, "--m", "99999999999999999999"], ["verify", f, "--precision", "f64"],
            ["verify", f, "--precision", "f32,,a8"], ["verify", f, "--threads", "0"], ["verify", f, "--threads", "x"],
            ["verify", f, "--isa", "avx1024"], ["verify", f, "--backend", "gpu"], ["explain", f, "w.weight", "--m", "0"],
            ["bench", "--type", "q9_9"], ["bench", "--n", "0"], ["bench", "--k", "x"], ["bench", "--reps", "0"],
            ["bench", f, "--type", "q4_0"], ["bench", f, "--n", "64"],
            ["bench", "--min-time", "-1"], ["bench", "--min-time", "nan"],
            ["make-sample"], ["make-sample", "f", "--blocks", "0"], ["report"],
        ]:  # fmt: skip
            with self.subTest(arguments=arguments):
                self.fails(2, r"see qlinear.* --help", *arguments)

    def test_bad_input_is_status_1(self):
        junk = self.here / "junk.gguf"
        junk.write_bytes(b"<!DOCTYPE html><html></html>" * 4)
        empty = self.here / "empty.gguf"
        empty.write_bytes(b"")
        out = self.here / "out.npy"
        for bad in [junk, empty, self.here / "missing.gguf", self.here, "/dev/null"]:
            for command in [["info"], ["verify"], ["report"], ["bench"]]:
                with self.subTest(command=command, file=bad):
                    self.fails(1, ".", *command, bad)
            self.fails(1, ".", "dequantize", bad, "w", "-o", out)
            self.fails(1, ".", "explain", bad, "w")
        self.assertFalse(out.exists())

    def test_unknown_tensor_names_the_nearest(self):
        f = GOLDEN / "q4_K.gguf"
        out = self.here / "out.npy"
        for arguments in [["verify", f, "w.wieght"], ["explain", f, "w.wieght"], ["bench", f, "w.wieght"],
                          ["dequantize", f, "w.wieght", "-o", out], ["explain", f, "w.weight,w.wieght"]]:  # fmt: skip
            self.fails(1, r"w\.wieght.*w\.weight", *arguments)

    def test_newlines_in_arguments_stay_one_line(self):
        self.fails(1, r"no\\(n|x0a)such\\x1b", "info", "no\nsuch\x1b[31m")
        self.fails(2, ".", "info\n", "x")

    def test_full_disk_behind_standard_output(self):
        with open("/dev/full", "w") as full:
            result = run("info", GOLDEN / "q4_0.gguf", stdout=full)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"\Aqlinear: [^\n]+\n\Z")


class Info(CliTest):
    def test_text(self):
        text = self.ok("info", self.sample)
        for expected in ["GGUF version 3", "general.architecture", '"llama"', "4,096 in all", "token_embd.weight",
                         "4096 x 512", "Totals by type", "Q6_K"]:  # fmt: skip
            self.assertIn(expected, text)
        self.assertNotIn("\x1b", text)
        self.assertFalse([line for line in text.splitlines() if line != line.rstrip()])
        self.assertLess(max(map(len, text.splitlines())), 160)
        self.assertIn("<token 4095>", self.ok("info", "--all", self.sample))

    def test_json_agrees_with_the_file(self):
        for path in [self.sample, *GOLDEN_FILES]:
            data, expected = self.json("info", path), Gguf(path)
            self.assertEqual(data["version"], expected.version)
            self.assertEqual(data["total_bytes"], path.stat().st_size)
            self.assertEqual([item["key"] for item in data["metadata"]], list(expected.metadata))
            self.assertEqual([t["name"] for t in data["tensors"]], list(expected.tensors))
            for tensor in data["tensors"]:
                dims, _, _ = expected.tensors[tensor["name"]]
                self.assertEqual(tensor["shape"], dims[::-1])
                self.assertEqual(tensor["offset"], expected.offset(tensor["name"]))
            self.assertEqual(sum(t["bytes"] for t in data["totals_by_type"]), data["tensor_bytes"])

    def test_arrays_are_shortened(self):
        tokens = {m["key"]: m for m in self.json("info", self.sample)["metadata"]}["tokenizer.ggml.tokens"]
        self.assertEqual((tokens["count"], tokens["shortened"], len(tokens["value"])), (4096, True, 32))
        tokens = {m["key"]: m for m in self.json("info", "--all", self.sample)["metadata"]}["tokenizer.ggml.tokens"]
        self.assertEqual((tokens["shortened"], len(tokens["value"])), (False, 4096))

    def test_hostile_names_do_not_reach_the_terminal(self):
        nasty = b"a\x1b[31m\n\xff\xe2\x80\xae\x00b"
        string = struct.pack("<Q", len(nasty)) + nasty
        metadata = [(nasty, 8, string), (b"long", 8, struct.pack("<Q", 10**6) + b"x" * 10**6),
                    (b"nan", 6, b"\0\0\xc0\x7f"), (b"flag", 7, b"\1"),
                    (b"strings", 9, struct.pack("<IQ", 8, 1) + string),
                    (b"nested", 9, struct.pack("<IQ", 9, 1) + struct.pack("<IQ3B", 0, 3, 1, 2, 3)),
                    (b"none", 9, struct.pack("<IQ", 4, 0))]  # fmt: skip
        path = self.here / "nasty.gguf"
        path.write_bytes(gguf_bytes(metadata, [(nasty, [4, 2], 0, b"\0" * 32), (b"ints", [3], 26, b"\0" * 12)]))
        text = self.ok("info", path)
        self.assertNotIn("\x1b", text)
        self.assertIn(r"a\x1b[31m\n\xff\u202e\x00b", text)
        self.assertLess(len(text), 5000)
        data = self.json("info", path)
        values = {m["key"]: m["value"] for m in data["metadata"]}
        self.assertEqual(values["nested"], [[1, 2, 3]])
        self.assertEqual((values["nan"], values["flag"], values["none"]), (None, True, []))
        self.assertEqual(data["tensors"][1]["type"], "I32")
        out = self.here / "out.npy"
        self.fails(1, r"I32", "dequantize", path, "ints", "-o", out)
        self.fails(1, r"I32", "explain", path, "ints")
        self.assertEqual(self.json("verify", path)["skipped"], ["ints"])


class Dequantize(CliTest):
    def test_equals_golden(self):
        out = self.here / "w.npy"
        for path in GOLDEN_FILES:
            golden = Gguf(path)
            for name in ["w", "bits"]:
                with self.subTest(file=path.name, name=name):
                    self.ok("dequantize", path, f"{name}.weight", "-o", out)
                    rows, columns, data = read_npy(out)
                    self.assertEqual([columns, rows], golden.tensors[f"{name}.dequantized"][0])
                    self.assertTrue(same_floats(data, golden.f32(f"{name}.dequantized")))

    def test_vectors_and_slices(self):
        out = self.here / "w.npy"
        self.ok("dequantize", self.sample, "output_norm.weight", "-o", out)
        out.chmod(0o600)  # the next one replaces it, and keeps that
        rows, columns, data = read_npy(out)
        self.assertEqual((rows, columns, data), (1, 512, Gguf(self.sample).f32("output_norm.weight")))
        self.ok("dequantize", self.sample, "token_embd.weight", "-o", out)  # two slices of a million values
        self.assertEqual(out.stat().st_mode & 0o777, 0o600)
        rows, columns, data = read_npy(out)
        self.assertEqual((rows, columns), (4096, 512))
        embd = Gguf(self.sample)
        at = embd.offset("token_embd.weight") + 4095 * 512 // 32 * 34
        (scale, first) = struct.unpack_from("<eb", embd.raw, at)
        self.assertEqual(files.floats(data)[4095 * 512], scale * first)

    def test_output_appears_complete_or_not_at_all(self):
        out = self.here / "kept.npy"
        out.write_bytes(b"before")
        self.fails(1, "not_there", "dequantize", self.sample, "not_there", "-o", out)
        self.assertEqual(out.read_bytes(), b"before")
        self.fails(1, "directory", "dequantize", self.sample, "output_norm.weight", "-o", self.here)
        self.fails(1, "cannot", "dequantize", self.sample, "output_norm.weight", "-o", self.here / "no" / "w.npy")
        self.fails(1, "cannot write.*space", "dequantize", self.sample, "output_norm.weight", "-o", "/dev/full")
        link = self.here / "link.npy"
        link.symlink_to(out)
        self.ok("dequantize", self.sample, "output_norm.weight", "-o", link)
        self.assertTrue(link.is_symlink())
        self.assertEqual(read_npy(out)[:2], (1, 512))
        self.assertFalse([p for p in self.here.iterdir() if ".npy." in p.name], "a temporary file was left behind")

    def test_devices_are_written_not_replaced(self):
        result = subprocess.run([QLINEAR, "dequantize", self.sample, "output_norm.weight", "-o", "/dev/stdout"],
                                capture_output=True)  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr)
        piped = self.here / "piped.npy"
        piped.write_bytes(result.stdout)
        self.assertEqual(read_npy(piped)[:2], (1, 512))
        self.ok("dequantize", self.sample, "output_norm.weight", "-o", "/dev/null")
        self.assertTrue(Path("/dev/null").is_char_device())

    def test_json(self):
        out = self.here / "w.npy"
        data = self.json("dequantize", self.sample, "output_norm.weight", "-o", out)
        self.assertEqual((data["rows"], data["columns"], data["type"]), (1, 512, "F32"))
        self.assertEqual(data["bytes"], out.stat().st_size)


class Apply(CliTest):
    def apply(self, path, tensors, x, *options):
        out = self.here / "y.npy"
        self.ok("apply", path, tensors, "-i", x, "-o", out, *options)
        return read_npy(out)

    def test_equals_golden_in_every_precision(self):
        x = self.here / "x.npy"
        for path in GOLDEN_FILES:
            golden = Gguf(path)
            write_npy(x, 5, 768, golden.f32("x"))
            for name, n in [("w", 24), ("bits", 8)]:
                expected = golden.f32(f"{name}.y")
                with self.subTest(file=path.name, name=name):
                    rows, columns, y = self.apply(path, f"{name}.weight", x, "--backend", "reference")
                    self.assertEqual((rows, columns), (5, n))
                    # Reference: the f64 sum rounded to f32 once; golden's sum has another order.
                    self.assertLess(nmse(y, expected), 1e-13)
                    for precision, limit in NMSE_LIMIT.items():
                        _, _, y = self.apply(path, f"{name}.weight", x, "--precision", precision)
                        # A row or two of the random bits outweigh all others: five sums are too few
                        # for a mean. kernels_test holds each of their rows to its own bound.
                        if (name, precision) != ("bits", "a8"):
                            self.assertLessEqual(nmse(y, expected), limit, precision)

    def test_interleaving_changes_no_bit(self):
        x = self.here / "x.npy"
        for path in GOLDEN_FILES:
            write_npy(x, 5, 768, Gguf(path).f32("x"))
            with self.subTest(file=path.name):
                plain = self.apply(path, "w.weight", x)
                self.assertEqual(self.apply(path, "w.weight", x, "--interleave"), plain)

    def test_fused_threads_and_instruction_sets_give_the_same_bits(self):
        names = [f"blk.0.attn_{part}.weight" for part in "qkv"]
        x = self.here / "x.npy"
        values = files.array.array("f", [((i * 7919) % 1999 - 999) / 500 for i in range(3 * 512)])
        write_npy(x, 3, 512, values.tobytes())
        separate = [files.floats(self.apply(self.sample, name, x)[2]) for name in names]
        joined = files.array.array("f")
        for row in range(3):
            for y in separate:
                width = len(y) // 3
                joined.extend(y[row * width : (row + 1) * width])
        sets = re.search(r"Instruction set to use: ([a-z0-9_, ]+);", " ".join(self.ok("apply", "--help").split()))
        runs = [["--threads", "1"], ["--threads", "2"], ["--threads", "7"]]
        runs += [["--isa", name] for name in sets[1].split(", ")]
        for options in runs:
            with self.subTest(options=options):
                out = self.here / "fused.npy"
                result = run("apply", self.sample, ",".join(names), "-i", x, "-o", out, *options)
                if result.returncode == 1 and "--isa" in options:
                    self.assertRegex(result.stderr, options[1])  # this machine cannot run it, and says so
                    continue
                self.assertEqual(result.returncode, 0, result.stderr)
                rows, columns, data = read_npy(out)
                self.assertEqual((rows, columns), (3, 512 + 256 + 256))
                self.assertEqual(data, joined.tobytes())

    def test_bias_comes_along(self):
        x = self.here / "x.npy"
        write_npy(x, 1, 512, bytes(4 * 512))
        _, _, y = self.apply(self.sample, "blk.1.attn_q.weight", x)
        self.assertEqual(y, Gguf(self.sample).f32("blk.1.attn_q.bias"))

    def test_json_and_empty_batch(self):
        x = self.here / "x.npy"
        out = self.here / "y.npy"
        write_npy(x, 0, 512, b"")
        data = self.json("apply", self.sample, "blk.0.attn_q.weight", "-i", x, "-o", out, "--precision", "a16")
        self.assertEqual((data["m"], data["out_features"], data["precision"]), (0, 512, "a16"))
        self.assertEqual(read_npy(out), (0, 512, b""))

    def test_version_2_input(self):
        x = self.here / "x.npy"
        values = struct.pack("<512f", *range(512))
        write_npy(x, 1, 512, values)
        one = self.apply(self.sample, "blk.0.attn_q.weight", x)
        write_npy(x, 1, 512, values, version=2)
        self.assertEqual(self.apply(self.sample, "blk.0.attn_q.weight", x), one)

    def test_hostile_input(self):
        x = self.here / "x.npy"
        out = self.here / "never.npy"
        good = npy_bytes(1, 512, bytes(2048))
        header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 512), }"
        cases = {
            "empty": (b"", "byte 0"),
            "short": (good[:9], "byte 0"),
            "magic": (b"PK\3\4" + good[4:], "magic at byte 0"),
            "version 3": (good[:6] + b"\3\0" + good[8:], "version at byte 6.*3.0"),
            "version 0": (good[:6] + b"\0\0" + good[8:], "version at byte 6"),
            "length past the end": (npy_bytes(1, 512, b"", length=65535), "header length at byte 8.*65535"),
            "huge length": (npy_bytes(1, 512, b"", version=2, length=2**32 - 1), "header length at byte 8"),
            "cut in the header": (good[:60], "header length at byte 8"),
            "cut in the data": (good[:-1], "data at byte 128.*2,?047 bytes"),
            "one byte more": (good + b"\0", "data at byte 128.*2,?049 bytes"),
            "columns": (npy_bytes(1, 511, bytes(2044)), "511 columns.*512"),
            "float64": (npy_bytes(1, 512, bytes(4096), header=header.replace("<f4", "<f8")), "descr.*<f8.*<f4"),
            "big-endian": (npy_bytes(1, 512, bytes(2048), header=header.replace("<f4", ">f4")), "descr.*>f4"),
            "fortran": (npy_bytes(1, 512, bytes(2048), header=header.replace("False", "True")), "fortran_order.*True"),
            "one dimension": (npy_bytes(1, 512, bytes(2048), header=header.replace("(1, 512)", "(512,)")), "2 dimensions"),
            "three": (npy_bytes(1, 512, bytes(2048), header=header.replace("(1, ", "(1, 1, ")), "3 dimensions"),
            "negative": (npy_bytes(1, 512, b"", header=header.replace("(1,", "(-1,")), "shape"),
            "wraps": (npy_bytes(1, 512, b"", header=header.replace("(1, 512)", f"({2**62}, {2**62})")), "data at byte 128"),
            "wraps to right": (npy_bytes(1, 512, bytes(2048), header=header.replace("(1, 512)", f"({2**54 + 1}, 512)")), "data"),
            "over 64 bits": (npy_bytes(1, 512, b"", header=header.replace("512", str(2**64))), "over 2.64"),
            "twice": (npy_bytes(1, 512, b"", header=header.replace("{", "{'shape': (1, 512), ")), "once"),
            "missing": (npy_bytes(1, 512, b"", header="{'descr': '<f4', 'shape': (1, 512)}"), "no 'fortran_order'"),
            "code": (npy_bytes(1, 512, b"", header="__import__('os').abort()"), "dictionary"),
            "unclosed": (npy_bytes(1, 512, b"", header="{'descr': '<f4"), "key|string|header"),
            "after": (npy_bytes(1, 512, b"", header=header + "x"), "after the dictionary"),
            "other key": (npy_bytes(1, 512, b"", header=header.replace("{", "{'\x1b[2J': 1, ")), r"x1b"),
        }  # fmt: skip
        for name, (data, pattern) in cases.items():
            x.write_bytes(data)
            with self.subTest(name=name):
                self.fails(1, pattern, "apply", self.sample, "blk.0.attn_q.weight", "-i", x, "-o", out)
        for cut in range(0, len(good) - 1, 13):
            x.write_bytes(good[:cut])
            self.fails(1, "byte", "apply", self.sample, "blk.0.attn_q.weight", "-i", x, "-o", out)
        fifo = self.here / "fifo.npy"
        os.mkfifo(fifo)
        self.fails(1, "regular file", "apply", self.sample, "blk.0.attn_q.weight", "-i", fifo, "-o", out)
        self.fails(1, "regular file", "apply", self.sample, "blk.0.attn_q.weight", "-i", self.here, "-o", out)
        self.assertFalse(out.exists())

    def test_layers_that_do_not_fit_together(self):
        x = self.here / "x.npy"
        write_npy(x, 1, 512, bytes(2048))
        out = self.here / "never.npy"
        for tensors in ["blk.0.attn_q.weight,blk.0.ffn_down.weight", "blk.0.attn_q.weight,", ","]:
            with self.subTest(tensors=tensors):
                self.fails(1, ".", "apply", self.sample, tensors, "-i", x, "-o", out)


class Verify(CliTest):
    def test_sample_passes(self):
        text = self.ok("verify", self.sample, "--m", "1,9")
        self.assertRegex(text, r"PASS: 15 matrices checked on cpu; 11 vectors scanned")
        self.assertNotIn("FAIL", text)
        data = self.json("verify", self.sample, "blk.0.ffn_up.weight", "--m", "1,3", "--precision", "a8")
        (tensor,) = data["tensors"]
        self.assertEqual((tensor["name"], tensor["shape"], tensor["passed"]), ("blk.0.ffn_up.weight", [1536, 512], True))
        (precision,) = tensor["precisions"]
        self.assertEqual([r["m"] for r in precision["results"]], [1, 3])
        self.assertTrue(0 < precision["nmse"] <= 1e-4)
        self.assertTrue(data["passed"])

    def test_rows_of_nothing_take_nothing(self):
        path = self.here / "rows.gguf"
        path.write_bytes(gguf_bytes(tensors=[(b"w", (0, 1 << 40), 0, b"")]))
        self.assertIn("PASS", self.ok("verify", path))

    def test_golden_passes(self):
        for path in GOLDEN_FILES:
            with self.subTest(file=path.name):
                data = json.loads(run("verify", path, "w.weight", "--json").stdout)
                self.assertTrue(data["passed"], data)

    def test_reference_is_nearly_exact(self):
        data = self.json("verify", self.sample, "blk.0.attn_k.weight", "--backend", "reference")
        for precision in data["tensors"][0]["precisions"]:
            self.assertEqual(precision["runs"], "f32")
            self.assertLess(precision["nmse"], 1e-13)

    def broken(self, tensor, offset, data):
        """A copy of the sample with some bytes of a tensor replaced."""
        original = Gguf(self.sample)
        at = original.offset(tensor) + offset
        path = self.here / "broken.gguf"
        path.write_bytes(original.raw[:at] + data + original.raw[at + len(data) :])
        return path, at

    def test_broken_blocks_are_found(self):
        path, at = self.broken("blk.1.attn_v.weight", 34 * 20, b"\x00\x7c")  # the scale of block 20: infinity
        result = run("verify", path)
        self.assertEqual((result.returncode, result.stderr), (1, ""))
        self.assertRegex(result.stdout, rf"blk\.1\.attn_v\.weight .* broken at byte {at} .* FAIL")
        self.assertRegex(result.stdout, r"FAIL: 15 matrices .* 1 failed")
        result = run("verify", path, "--json")
        self.assertEqual(result.returncode, 1)
        data = json.loads(result.stdout)
        self.assertEqual([t["broken_block_offset"] for t in data["tensors"] if not t["passed"]], [at])
        self.assertEqual(run("report", path).returncode, 1)

    def test_broken_vectors_are_found(self):
        path, at = self.broken("output_norm.weight", 40, b"\x00\x00\xc0\x7f")
        result = run("verify", path, "output_norm.weight")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stdout, rf"output_norm\.weight: F32 vector.*byte {at}")


class Bench(CliTest):
    FIELDS = {"type", "n", "k", "m", "precision", "isa", "threads", "median_ms", "min_ms", "gflops",
              "weight_gbytes_per_s", "stream_read_gbytes_per_s", "share_of_stream", "arithmetic_limit_ms",
              "limit", "share_of_limit", "shapes"}  # fmt: skip

    def check(self, result):
        self.assertLessEqual(self.FIELDS, set(result))
        self.assertGreaterEqual(result["median_ms"], result["min_ms"])
        self.assertGreater(result["min_ms"], 0)
        gflops = 2e-6 * result["m"] * result["n"] * result["k"] / result["median_ms"]
        self.assertAlmostEqual(result["gflops"] / gflops, 1, places=6)
        share = result["weight_gbytes_per_s"] / result["stream_read_gbytes_per_s"]
        self.assertAlmostEqual(result["share_of_stream"] / share, 1, places=6)
        arithmetic = result["arithmetic_limit_ms"] / result["median_ms"]
        self.assertAlmostEqual(result["share_of_limit"] / max(share, arithmetic), 1, places=6)
        self.assertEqual(result["limit"], "reading" if share >= arithmetic else "arithmetic")

    def test_random_layers(self):
        data = self.json("bench", "--type", "q4_k,Q8_0", "--n", 96, "--k", 512, "--m", "1,3", "--reps", 3,
                         "--precision", "a8,a16", "--threads", 1)  # fmt: skip
        results = data["results"]
        self.assertEqual(len(results), 2 * 2 * 2)
        for result in results:
            self.check(result)
            self.assertEqual((result["n"], result["k"], result["threads"]), (96, 512, 1))
            self.assertGreaterEqual(result["walked_weight_bytes"], 4 * data["last_level_cache_bytes"])
        self.assertEqual([r["type"] for r in results[::4]], ["Q4_K", "Q8_0"])

    def test_all_types(self):
        data = self.json("bench", "--type", "all", "--n", 4096, "--k", 2048, "--m", 1, "--reps", 1)
        self.assertEqual(len({r["type"] for r in data["results"]}), len(GOLDEN_FILES))

    def test_interleaved(self):
        (result,) = self.json("bench", "--type", "q4_k", "--n", 96, "--k", 512, "--m", 1, "--reps", 2,
                              "--interleave")["results"]  # fmt: skip
        self.check(result)
        if result["isa"].startswith("avx"):
            self.assertIn("interleaved", result["path"])

    def test_file(self):
        data = self.json("bench", self.sample, "blk.0.attn_q.weight,blk.0.attn_k.weight", "--m", "1", "--reps", 2)
        (result,) = data["results"]
        self.check(result)
        self.assertEqual((result["n"], result["type"]), (768, "Q4_K+Q5_0"))
        self.assertEqual([s["rows"] for s in result["shapes"]], [512, 256])
        names = [r["name"] for r in self.json("bench", self.sample, "--m", "1", "--reps", 2)["results"]]
        self.assertEqual(len(names), 8)  # one of each type and shape

    def test_text(self):
        text = self.ok("bench", "--n", 64, "--k", 256, "--m", "1,64", "--reps", 2)
        self.assertRegex(text, r"Q4_K +Q4_K +64 x 256 +1 +a8 .* GB/s .* GFLOP/s +\d+ % (reading|arithmetic)\n")
        self.assertRegex(text, r"64 x 256 +64 +a8 .* GB/s .* GFLOP/s +\d+ % (reading|arithmetic)\n")
        self.assertIn("streamed read", text)

    def test_shape_that_does_not_fit(self):
        self.fails(1, "257", "bench", "--type", "q4_k", "--k", 257)


class Explain(CliTest):
    def test_layers(self):
        names = "blk.0.attn_q.weight,blk.0.attn_k.weight,blk.0.attn_v.weight"
        data = self.json("explain", self.sample, names, "--m", "1,64", "--threads", 2)
        self.assertEqual((data["in_features"], data["out_features"], data["threads"]), (512, 1024, 2))
        self.assertEqual([e["m"] for e in data["explanations"]], [1, 64])
        for explanation in data["explanations"]:
            self.assertEqual([p["type"] for p in explanation["parts"]], ["Q4_K", "Q5_0", "Q8_0"])
            self.assertEqual([p["rows"] for p in explanation["parts"]], [512, 256, 256])
            self.assertEqual(explanation["memory_plan"]["shared_bytes"], 512 * 288 + 256 * 352 + 256 * 544)
        text = self.ok("explain", self.sample, names)
        for expected in ["1024 x 512", "Memory plan", "blk.0.attn_v.weight", "Q5_0", "512"]:
            self.assertIn(expected, text)

    def test_reference(self):
        data = self.json("explain", self.sample, "blk.0.attn_q.weight", "--backend", "reference")
        self.assertEqual(data["backend"], "reference")
        self.assertEqual(data["explanations"][0]["parts"][0]["runs"], "f32")


class Report(CliTest):
    def test_text(self):
        text = self.ok("report", self.sample)
        for expected in ["15 projections", "NMSE a8", "of stream", "512-token prompt", "output head", "PASS",
                         "blk.1.ffn_down.weight", "token_embd.weight"]:  # fmt: skip
            self.assertIn(expected, text)
        self.assertNotIn("attn_norm", text)

    def test_json(self):
        data = self.json("report", self.sample, "--precision", "a16,a8")
        self.assertEqual([t["precision"] for t in data["totals"]], ["a16", "a8"])
        self.assertEqual(len(data["projections"]), 15)
        self.assertEqual([p["name"] for p in data["projections"] if p["output_head"]], ["token_embd.weight"])
        for projection in data["projections"]:
            for figures in projection["precisions"]:
                self.assertTrue(figures["passed"])
                self.assertLessEqual(figures["nmse"], NMSE_LIMIT[figures["precision"]])
                self.assertGreater(figures["decode_ms"], 0)
                self.assertGreater(figures["prefill_ms"], 0)
        token = sum(p["precisions"][0]["decode_ms"] for p in data["projections"])
        self.assertAlmostEqual(data["totals"][0]["token_ms"] / token, 1, places=6)
        self.assertGreaterEqual(data["weight_bytes"] * data["weight_copies"], 4 * data["last_level_cache_bytes"])

    def test_file_without_projections(self):
        path = self.here / "vectors.gguf"
        path.write_bytes(gguf_bytes([], [(b"v", [4], 0, bytes(16))]))
        self.fails(1, "no two-dimensional", "report", path)


class MakeSample(CliTest):
    def test_same_seed_same_bytes(self):
        a, b, c = (self.here / f"{name}.gguf" for name in "abc")
        self.ok("make-sample", a, "--blocks", 1)
        self.ok("make-sample", b, "--blocks", 1)
        self.assertEqual(self.json("make-sample", c, "--blocks", 1, "--seed", 2)["seed"], 2)
        self.assertEqual(a.read_bytes(), b.read_bytes())
        self.assertNotEqual(a.read_bytes(), c.read_bytes())
        self.fails(1, "device|regular", "make-sample", "/dev/null")


class Terminal(CliTest):
    def on_terminal(self, environment, *arguments):
        """What a person would see: standard output and error are a terminal."""
        main, terminal = pty.openpty()
        env = {"PATH": os.environ["PATH"], "TERM": "xterm", **environment}
        process = subprocess.Popen([QLINEAR, *map(str, arguments)], stdout=terminal, stderr=terminal, env=env)
        os.close(terminal)
        seen = b""
        while True:
            if not select.select([main], [], [], 120)[0]:
                process.kill()
                self.fail("nothing on the terminal for two minutes")
            try:
                data = os.read(main, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            seen += data
        os.close(main)
        self.assertEqual(process.wait(), 0)
        return seen.decode()

    def test_colour_only_where_it_is_wanted(self):
        self.assertIn("\x1b[1m", self.on_terminal({}, "info", self.sample))
        self.assertNotIn("\x1b", self.on_terminal({"NO_COLOR": "1"}, "info", self.sample))
        self.assertNotIn("\x1b", self.on_terminal({"TERM": "dumb"}, "info", self.sample))
        self.assertNotIn("\x1b", self.on_terminal({}, "info", self.sample, "--json"))

    def test_progress_bar_erases_itself(self):
        seen = self.on_terminal({"NO_COLOR": "1"}, "report", self.sample)
        if "\r\x1b[K" in seen:  # on a machine fast enough there is none
            before, after = seen.rsplit("\r\x1b[K", 1)
            self.assertRegex(before, r"report \[#*\.*\]")
            self.assertNotIn("report [", after)


if __name__ == "__main__":
    if not os.path.exists(QLINEAR) or not GOLDEN_FILES:
        sys.exit(f"usage: {sys.argv[0]} QLINEAR GOLDEN_FOLDER")
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])

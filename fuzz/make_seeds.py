#!/usr/bin/env python3
"""Writes fuzz/corpus/: small valid files of each format, from which the fuzz targets start.

Run from anywhere; the bytes do not depend on the machine. Layouts: src/gguf/gguf.h, src/gguf/safetensors.h,
src/adapter/adapter.h.
"""
import base64
import io
import json
import pathlib
import struct
import zipfile
import zlib

CORPUS = pathlib.Path(__file__).parent / "corpus"
NUMBERS = {"u8": (0, "B"), "i8": (1, "b"), "u16": (2, "H"), "i16": (3, "h"), "u32": (4, "I"), "i32": (5, "i"),
           "f32": (6, "f"), "bool": (7, "?"), "u64": (10, "Q"), "i64": (11, "q"), "f64": (12, "d")}
STRING, ARRAY = 8, 9
F32, F16, Q4_0, Q8_0, Q4_K, I64 = 0, 1, 2, 8, 12, 27
BLOCKS = {F32: (1, 4), F16: (1, 2), Q4_0: (32, 18), Q8_0: (32, 34), Q4_K: (256, 144),
          I64: (1, 8)}  # values, bytes


def save(target, name, data):
    path = CORPUS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def padded(data, alignment):
    return data + bytes(-len(data) % alignment)


def floats(n):
    return struct.pack(f"<{n}f", *(i / 8 - 1 for i in range(n)))


def halves(n):
    return struct.pack(f"<{n}e", *(i / 8 - 1 for i in range(n)))


def gguf_string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_value(kind, value):
    if kind == "string":
        return struct.pack("<I", STRING) + gguf_string(value)
    if kind == "strings":
        return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(gguf_string, value))
    number, code = NUMBERS[kind.removesuffix("s")]
    if isinstance(value, list):
        return struct.pack("<IIQ", ARRAY, number, len(value)) + struct.pack(f"<{len(value)}{code}", *value)
    return struct.pack("<I" + code, number, value)


def gguf(keys, tensors, version=3, alignment=32):
    """keys: (name, kind, value); tensors: (name, type, ne, data or None for bytes 0, 1, 2, ...)."""
    head = struct.pack("<4sIQQ", b"GGUF", version, len(tensors), len(keys))
    for name, kind, value in keys:
        head += gguf_string(name) + gguf_value(kind, value)
    body = b""
    for name, type_id, ne, data in tensors:
        head += gguf_string(name) + struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, type_id, len(body))
        n_elements = 1
        for n in ne:
            n_elements *= n
        values, size = BLOCKS[type_id]
        data = data or bytes(i % 256 for i in range(n_elements // values * size))
        body += padded(data, alignment)
    return padded(head, alignment) + body


def gguf_seeds():
    every_kind = [(f"key.{kind}", kind, True if kind == "bool" else 7) for kind in NUMBERS]
    every_kind += [(f"key.{kind}s", f"{kind}s", [1, 0, 1]) for kind in NUMBERS if kind != "bool"]
    every_kind += [("key.bools", "bools", [True, False]), ("key.string", "string", "caf\u00e9"),
                   ("key.strings", "strings", ["", "<s>", "\u2581the"])]
    save("gguf", "values.gguf", gguf(every_kind, []))
    types = [("f32.weight", F32, [4, 2], None), ("f16.weight", F16, [8], None), ("q4_0.weight", Q4_0, [32, 3], None),
             ("q8_0.weight", Q8_0, [64, 1, 2], None), ("q4_k.weight", Q4_K, [256], None)]
    save("gguf", "tensors.gguf", gguf([("general.architecture", "string", "llama")], types))
    save("gguf", "version2-alignment8.gguf",
         gguf([("general.alignment", "u32", 8)], [("a", F32, [3], None), ("b", F32, [1, 1, 1, 1], None)], 2, 8))
    save("gguf", "empty.gguf", gguf([], []))


def adapter_keys(alpha):
    return [("general.type", "string", "adapter"), ("general.architecture", "string", "llama"),
            ("adapter.type", "string", "lora"), ("adapter.lora.alpha", "f32", alpha)]


def checksum(data):
    """src/base/checksum.h, of data whose length is a multiple of eight."""
    h = 0xcbf29ce484222325
    for (word,) in struct.iter_unpack("<Q", data):
        h = (h ^ word) * 0x100000001b3 % 2**64
    return h


def checkpoint_seeds():
    def write(name, optimizer, tensors, more=()):
        place = "lora_cpp.checkpoint."
        keys = [("general.type", "string", "checkpoint"), ("general.architecture", "string", "llama"),
                (place + "version", "u32", 2), (place + "iteration", "u64", 3), (place + "alpha", "f32", 4.0),
                (place + "rslora", "bool", False), (place + "optimizer", "string", optimizer),
                (place + "seed", "u64", 5), (place + "cursor", "u64", 24), (place + "shuffle_seed", "u64", 5),
                (place + "shuffle_begin", "u64", 0), (place + "losses", "f64s", [2.5, 2.25]),
                (place + "best_loss", "f64", 2.25), (place + "n_no_improvement", "u64", 0),
                ("lora_cpp.setting.--ctx", "string", "128"), *more]
        data = gguf(keys, tensors + [("checksum", I64, [1], bytes(8))])
        save("checkpoint", name, data[:-32] + padded(struct.pack("<Q", checksum(data[:-32])), 32))

    query = "blk.0.attn_q.weight"
    shapes = [(query + ".lora_a", [6, 2], 12), (query + ".lora_b", [2, 4], 8)]
    pair = [(name, F32, ne, floats(n)) for name, ne, n in shapes]
    moments = [(name + moment, F32, ne, floats(n)) for name, ne, n in shapes for moment in (".m", ".v")]
    norm = [("output_norm.weight.lora_a" + end, F32, [6, 1], floats(6)) for end in ("", ".m", ".v")]
    norm += [("output_norm.weight.lora_b" + end, F32, [1, 1], floats(1)) for end in ("", ".m", ".v")]
    write("adam.gguf", "adam", pair + moments + norm, [("lora_cpp.checkpoint.best_val_loss", "f64", 2.0)])
    # A takes 12 of 16 places, B 8 of 16: halves begin on cache lines.
    write("lbfgs.gguf", "lbfgs", pair + [(f"lbfgs.0.{v}", F32, [32], floats(32)) for v in "sy"])


def ggla(rank, alpha, tensors):
    data = struct.pack("<IIII", 0x67676C61, 1, rank, alpha)
    for name, type_id, ne, values in tensors:
        data += struct.pack(f"<III{len(ne)}I", len(ne), len(name), type_id, *ne) + name.encode()
        data = padded(data, 32) + values
    return data


def adapter_seeds():
    query = "blk.0.attn_q.weight"
    pair = [(query + ".lora_a", F32, [6, 2], floats(12)), (query + ".lora_b", F32, [2, 4], floats(8))]
    halved = [("blk.1.ffn_up.weight.lora_a", F16, [4, 1], halves(4)),
              ("blk.1.ffn_up.weight.lora_b", F16, [1, 3], halves(3))]
    embedding = [("token_embd.weight.lora_a", F32, [2, 5], floats(10)),
                 ("token_embd.weight.lora_b", F32, [2, 6], floats(12))]
    norm = [("output_norm.weight.lora_a", F32, [1, 1], floats(1)),
            ("output_norm.weight.lora_b", F32, [1, 6], floats(6))]
    save("adapter", "pair.gguf", gguf(adapter_keys(4.0), pair))
    save("adapter", "embedding-norm-f16.gguf",
         gguf(adapter_keys(0.0) + [("lora_cpp.rope_freq_base", "f32", 5e5)], pair + halved + embedding + norm))
    save("adapter", "pair.ggla", ggla(2, 4, [(query + ".loraA", F32, [2, 6], floats(12)),
                                             (query + ".loraB", F32, [2, 4], floats(8))]))
    save("adapter", "embedding-f16.ggla", ggla(2, 8, [("token_embd.weight.loraA", F16, [2, 6], halves(12)),
                                                      ("token_embd.weight.loraB", F16, [2, 5], halves(10)),
                                                      ("none.loraA", F32, [], b"")]))


def imatrix_seeds():
    keys = [("general.type", "string", "imatrix"), ("imatrix.datasets", "strings", ["text.txt"]),
            ("imatrix.chunk_count", "u32", 2), ("imatrix.chunk_size", "u32", 512)]
    squares, counts = struct.pack("<6f", 1, 2, 3, 4, 0, 6), struct.pack("<2f", 7, 0)
    save("imatrix", "experts.gguf", gguf(keys, [("blk.0.ffn_up_exps.weight.in_sum2", F32, [3, 2], squares),
                                                ("blk.0.ffn_up_exps.weight.counts", F32, [1, 2], counts)]))
    name = b"blk.0.attn_q.weight"
    entries = struct.pack("<ii", 1, len(name)) + name + struct.pack("<iiff", 4, 2, 1.5, 2.5)
    save("imatrix", "oldest.dat", entries)
    save("imatrix", "with-text.dat", entries + struct.pack("<ii", 9, 8) + b"text.txt")


def safetensors(header, data):
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + data


def safetensors_seeds():
    save("safetensors", "dtypes.safetensors", safetensors(
        {"f32": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
         "f16": {"dtype": "F16", "shape": [2], "data_offsets": [24, 28]},
         "bf16": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [28, 32]},
         "f64": {"dtype": "F64", "shape": [], "data_offsets": [32, 40]},
         "i32": {"dtype": "I32", "shape": [1], "data_offsets": [40, 44]},
         "u8": {"dtype": "U8", "shape": [4], "data_offsets": [44, 48]}}, floats(12)))
    save("safetensors", "metadata.safetensors", safetensors(
        {"__metadata__": {"format": "pt", "": "\u00e9\\"},
         "a.b": {"dtype": "F32", "shape": [0, 4], "data_offsets": [0, 0]}}, b""))
    save("safetensors", "empty.safetensors", safetensors({}, b""))


def peft_seeds():
    def seed(name, config, tensors):
        header, at = {}, 0
        for tensor, shape in tensors:
            size = 4 * shape[0] * shape[1]
            header[tensor] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
            at += size
        save("peft", name, json.dumps(config).encode() + b"\0" + safetensors(header, floats(at // 4)))

    layer, lora = "base_model.model.model.layers.0.", {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    seed("patterns", lora | {"rank_pattern": {"k_proj": 1}, "alpha_pattern": {"^.*up_proj": 8}, "use_rslora": True},
         [(layer + "self_attn.k_proj.lora_A.weight", [1, 4]), (layer + "self_attn.k_proj.lora_B.weight", [4, 1]),
          (layer + "mlp.up_proj.lora_A.weight", [2, 4]), (layer + "mlp.up_proj.lora_B.weight", [6, 2])])
    seed("embedding-and-more", lora | {"use_dora": True, "modules_to_save": ["lm_head"]},
         [("base_model.model.model.embed_tokens.lora_embedding_A", [2, 5]),
          ("base_model.model.model.embed_tokens.lora_embedding_B", [4, 2]),
          ("base_model.model.lm_head.weight", [5, 4])])
    seed("mlx", {"fine_tune_type": "lora", "lora_parameters": {"rank": 2, "scale": 20.0, "dropout": 0.0}},
         [("model.layers.1.self_attn.q_proj.lora_a", [4, 2]), ("model.layers.1.self_attn.q_proj.lora_b", [2, 8])])


def pickled(tensors):
    """The pickle of a state dict: (name, storage's key, numel, shape, stride), all F32."""
    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def integer(value):
        return b"J" + struct.pack("<i", value)

    def sizes(values):
        return b"(" + b"".join(map(integer, values)) + b"t"
    program = b"\x80\x02}q\x00("
    for name, key, numel, shape, stride in tensors:
        program += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n"
        program += text(key) + text("cpu") + integer(numel) + b"tQK\x00" + sizes(shape) + sizes(stride)
        program += b"\x89ccollections\nOrderedDict\n)RtR"
    return program + b"u."


def pytorch_seeds():
    program = pickled([("w", "0", 6, [2, 3], [3, 1]), ("t", "0", 6, [3, 2], [1, 3])])
    save("pytorch", "data.pkl", program)
    save("pytorch", "calls.pkl", b"cposix\nsystem\n(X\x02\x00\x00\x00lstR.")
    # A list of pairs, shared by many dictionaries.
    save("pytorch", "pairs.pkl", b"\x80\x02ccollections\nOrderedDict\nq\x01K\x01K\x01\x86q\x02]q\x03(" + b"h\x02" * 8
         + b"e\x85q\x04(" + b"h\x01h\x04R" * 8 + b"0.")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as out:
        for name, data in [("data.pkl", program), ("byteorder", b"little"), ("data/0", floats(6))]:
            out.writestr(zipfile.ZipInfo("m/" + name), data)
    save("pytorch", "model.bin", archive.getvalue())


def protobuf(number, data):
    return bytes([number << 3 | 2, len(data)]) + data


def hf_files_seeds():
    save("hf_files", "pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    save("hf_files", "page.html", b"\xef\xbb\xbf <!DOCTYPE html><html>")
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("<0x0A>", 0.0, 6), ("\u2581the", -1.5, 1), ("\u2581\u2581", -2.0, 4)]
    model = b"".join(protobuf(1, protobuf(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([0x18, kind]))
                     for text, score, kind in pieces)
    save("hf_files", "bpe.model", model + protobuf(2, b"\x18\x02\xc8\x02\x00") + protobuf(3, b"\x18\x01"))
    save("hf_files", "unigram.model", model + protobuf(2, b"\x18\x01"))
    fallback = {"added_tokens": [{"id": 5, "content": "<tool>", "special": False}],
                "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}]},
                "model": {"type": "BPE", "byte_fallback": True, "unk_token": "<unk>", "merges": ["a b", ["ab", "c"]],
                          "vocab": {"<unk>": 0, "<0x00>": 1, "a": 2, "ab": 3, "abc": 4}}}
    save("hf_files", "fallback.json", json.dumps(fallback).encode())
    bytes_ = {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True},
                                {"type": "ByteLevel", "add_prefix_space": False}]},
              "post_processor": {"type": "TemplateProcessing",
                                 "single": [{"SpecialToken": {"id": "b"}}, {"Sequence": {}}]},
              "model": {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}
    save("hf_files", "bytes.json", json.dumps(bytes_).encode())
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
             "vocab_size": 32, "max_position_embeddings": 64}
    for name, more in [("llama", {"architectures": ["LlamaForCausalLM"], "rope_scaling": {
                           "rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 32}}),
                       ("phi3", {"architectures": ["Phi3ForCausalLM"], "rope_scaling": {
                           "type": "longrope", "short_factor": [1, 2], "long_factor": [1.0, 4.0]}}),
                       ("gemma3", {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": {
                           "rope_parameters": {"full_attention": {
                               "rope_theta": 1e6, "rope_type": "yarn", "factor": 2}}}})]:
        save("hf_files", name + ".config.json", json.dumps(sizes | more).encode())


def samples_seeds():
    """A byte with the pattern's length less one (and 128 to keep the pattern), the pattern, the text."""
    def seed(name, pattern, include, text):
        save("samples", name, bytes([len(pattern) - 1 | 128 * include]) + pattern + text)
    seed("line", b"\\n", False, b"one\ntwo\r\nthree\n\n \nfour")
    seed("tag", b"<s>", True, b"head <s>one<s><s> \t<s>two")
    seed("overlap", b"aa", False, b"aaaaabaaacaa")
    seed("spaces", b" ", True, b"  \xc2\xa0 \xe3\x80\x80 x ")


def records_seeds():
    """First byte: the format (0 .jsonl, 1 .json, 2 .csv), plus the chat family times 4, plus 64 for other columns."""
    chat = {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": [{"text": "Hi"}]},
                         {"role": "assistant", "content": "Hello"}]}
    alpaca = {"instruction": "Add.", "input": "1 2", "output": "3"}
    share = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": ""}]}
    tavern = [{"user_name": "A", "character_name": "B"}, {"name": "B", "is_user": False, "mes": "Hi"},
              {"name": "A", "is_user": True, "mes": "Bye", "is_system": True}]
    lines = "\r\n".join(json.dumps(record) for record in (chat, alpaca, share, {"text": "a\r\nb"})).encode()
    save("records", "lines", bytes([0]) + lines)
    save("records", "tavern", bytes([4]) + "\n".join(json.dumps(line) for line in tavern).encode())
    group = [{"name": "B", "is_user": False, "mes": "I am {{char}} of {{group}}{{trim}}\n{{random:a,b}}"},
             {"name": "C", "is_user": False, "mes": "<BOT>{{// {{user}}}}", "extra": {"reasoning": "{{user}}"}},
             {"name": "S", "is_user": False, "mes": "Rain", "extra": {"type": "narrator"}},
             {"name": "A", "is_user": True, "mes": "{{description}}", "extra": {"image": "a.png"}},
             {"name": "T", "is_user": False, "is_system": True, "mes": "", "extra": {"tool_invocations": [{}]}}]
    log = {"internal": [["<|BEGIN-VISIBLE-CHAT|>", "Hi {{user}}"], ["Bye", ""]], "visible": [],
           "metadata": {"user_0": {"attachments": []}}}
    save("records", "tavern-group", bytes([0]) + "\n".join(json.dumps(line) for line in group).encode())
    save("records", "webui", bytes([1]) + json.dumps(log).encode())
    save("records", "list", bytes([9]) + json.dumps([chat, alpaca, 3], indent=1).encode())
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\": [1]}"}}
    tools = {"messages": [{"role": "assistant", "content": None, "tool_calls": [call, {"name": "g", "arguments": {}}]},
                          {"role": "tool", "tool_call_id": "c", "name": "f", "content": "fog"},
                          {"role": "assistant", "content": [{"type": "thinking", "thinking": "t"}, {"text": "A"}]}],
             "tools": json.dumps([{"name": "f", "parameters": {}}])}
    observed = {"conversations": [{"from": "function_call", "value": json.dumps({"name": "f", "arguments": {}})},
                                  {"from": "observation", "value": "rain"}], "system": "S"}
    turns = {"prompt": [{"role": "user", "content": "U"}], "completion": [{"role": "assistant", "content": "A"}]}
    asked = {"question": "Q", "answer": "A", "reasoning": "R", "history": [["P", "B"]], "functions": [{"name": "f"}]}
    save("records", "tools", bytes([0]) + "\n".join(map(json.dumps, (tools, observed, turns, asked))).encode())
    save("records", "around", bytes([1]) + json.dumps({"version": "1", "data": [tools, alpaca]}, indent=1).encode())
    save("records", "columns", bytes([64]) + b'{"completion": "Q", "a": "A"}\n{"text": [], "messages": null}')
    save("records", "cells", bytes([2]) + b'messages,tools\n"[{""role"": ""user"", ""content"": ""U""}]",[]\n')
    save("records", "number-overflow", b'\x00{"text": 1e999}')
    save("records", "table", bytes([2]) + b'prompt,completion\n"a ""b"",\nc",d\n,\n\ne,f')


def card_seeds():
    fields = {"name": "Bo", "description": "{{char}} and {{user}}", "personality": "kind", "scenario": "",
              "first_mes": "Hi", "mes_example": "<START>\n{{char}}: Hi\n<start>\nBo: {{mesExamples}}",
              "system_prompt": "{{original}}", "character_book": {"entries": [{"keys": ["a"]}]},
              "extensions": {"depth_prompt": {"prompt": "x"}, "world": "w"}}
    card = json.dumps({"spec": "chara_card_v2", "spec_version": "2.0", "data": fields}).encode()
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    def png(*chunks):
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)) + b"".join(chunks) + chunk(b"IEND", b"")
    packed = base64.b64encode(card)
    save("card", "v1.json", json.dumps(fields).encode())
    save("card", "v2.json", b"\xef\xbb\xbf" + card)
    save("card", "pygmalion.json", b'{"char_name": "Bo", "char_persona": "a", "world_scenario": "{{random:a}}"}')
    save("card", "chara.png", png(chunk(b"tEXt", b"chara\0" + packed)))
    save("card", "both.png", png(chunk(b"tEXt", b"chara\0e30="), chunk(b"iTXt", b"ccv3\0\0\0\0\0" + packed)))
    save("card", "packed.png", png(chunk(b"zTXt", b"chara\0\0" + packed)))


def tokenizer_seeds():
    save("tokenizer", "english", b"The cat sat on the mat, and it wasn't 12345 years old.\n\n  Two  spaces.")
    save("tokenizer", "specials", b"<s>a</s><0x0A><s><unk> <s")
    save("tokenizer", "utf8", "na\u00efve \u4e2d\u6587 \U0001f600 \u0928\u092e\u0938\u094d".encode())
    save("tokenizer", "stray", b"\xff\xfe\x80abc\xc3(\xe2\x96 \xf0\x9f\x98\0end")
    save("tokenizer", "empty", b"")


def template_seeds():
    def seed(name, text):
        save("template", name, text.encode())
    seed("chat", "{{ bos_token }}{% for m in messages %}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles\\n' ~ n) }}"
                 "{% endif %}<|{{ m['role'] }}|>\n{% if m.content is string %}{{ m.content.split('</think>')[-1].strip() | trim }}{% else %}"
                 "{% for c in m.content if c.type == 'text' %}{{ c.text }}{% endfor %}{% endif %}<|end|>\n{% endfor %}")
    seed("macros", "{% macro show(o, d=0) %}{% for k, v in o.items() %}{{ '  ' * d ~ k }}: {% if v is mapping %}{{ show(v, d + 1) }}{% else %}{{ v }}"
                   "{% endif %}\n{% endfor %}{% endmacro %}{{ show(messages[2].tool_calls[0].function) }}{% call show(a=1, *[2], **{'b': 3}) %}{{ caller }}{% endcall %}")
    seed("scopes", "{%- set ns = namespace(a=0, l=[]) -%}{% for i in range(5) if i is odd %}{% set ns.a, ns.l = ns.a + i, ns.l + [i] %}{% continue %}"
                   "{% else %}{{ loop }}{% endfor %}{% with a = 1, (b, c) = (2, 3) %}{{ a ~ b ~ c }}{% endwith %}{% set x | upper %}{{ ns.l }}{% endset %}{{ x }}")
    seed("generation", "a {% generation %}b{% filter indent(2) %}{% generation %}c\n{% endgeneration %}{% endfilter %}{% endgeneration %}\n{#- c -#} {% raw %}{{ {% endraw %}")
    seed("filters", "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list | tojson(indent=2) }}{{ messages | groupby('role') | dictsort"
                    " if x else [1, 'a', none] | sort(reverse=true) | join(', ') }}{{ '%5.2f|%-6s|%(a)s' | format(x, stray) }}{{ '{:>8}{0!r:^9}'.format(n) }}")
    seed("operators", "{{ 1 + 2 * 3 ** 2 // -4 % 5 - x / 3 ~ 'a' 'b' }}{{ not 1 < 2 <= 3 != 4 and n in [1, 3] or stray[::-1] }}{{ stray[1:-2] | urlencode }}"
                      "{{ {'a': (1, [2.5, true]), 3: none} }}{{ messages[-1]['content'][0].text[0] }}{{ 1 if tools is defined and tools is not none }}")
    seed("recursive", "{% for a in [[1, [2]], 3] recursive %}{{ loop.depth }}{{ loop.changed(a) }}{% if a is iterable %}{{ loop(a) }}{% else %}{{ loop.cycle(1, 2) }}{% endif %}{% endfor %}")


for write in (gguf_seeds, adapter_seeds, checkpoint_seeds, imatrix_seeds, safetensors_seeds, peft_seeds, pytorch_seeds, hf_files_seeds, samples_seeds,
              records_seeds, card_seeds, template_seeds, tokenizer_seeds):
    write()

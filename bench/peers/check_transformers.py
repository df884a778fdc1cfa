#!/usr/bin/python3
"""Holds exported folders against Hugging Face's transformers itself, and folders that it saved against our import.

usage: check_transformers.py make FOLDER ROOT [NAME KIND TYPE FROM]...
           writes source folders, the models that transformers saves among them, and plan.json; each four arguments are a model more, with
           texts of that kind: FROM is imported and exported in TYPE as FOLDER/NAME, which is there already where the two are empty
       check_transformers.py check FOLDER
           compares, prints a table in Markdown; exit code 1 if anything differs

Between them runs ExportAndRun.java, which writes what the engine says. Of every exported folder is checked:

  loading       AutoConfig, AutoModelForCausalLM and AutoTokenizer take it; no key missing, unexpected or of another shape; the type of its
                tensors is the one that config.json says; embedding and output tied or not; bos and eos of model, generation and tokenizer agree
  chat          chat templates are those of the folder that was imported, and so are the text and the ids that they make of messages
  ids           of every text, with what stands before a text; of every control token, alone and within a text; of texts that spell control
                tokens, with split_special_tokens; and the texts of the ids
  logits        of all positions and ids, in f32, within 1e-4
  greedy        24 tokens, as generate() continues; the folders that transformers saves have a second end token, the sixth that is drawn
  source        the same logits by transformers from the folder that was imported, of the ids that it had, where nothing was rounded
"""
import json
import logging
import os
import shutil
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

BOUND = 1e-4
GREEDY = 24
LONG = "the cat sat on the mat and the dog ran to the big red house. "
TEXTS = {
    "words": [  # any text
        "Once upon a time", " leading space", "  two, and\ttabs\n\nlines \n ",
        "na\u00efve caf\u00e9 \u2014 \u65e5\u672c\u8a9e \U0001f642\U0001f469\u200d\U0001f467", "e\u0301 \u212b \u2581x \u0120",
        "digits 1234567 and 3.14!", "it's DON'T I'll <0x0A>", "a<latent>b</latent> <prior><bos>", "x</s> <s>y<|endoftext|>", LONG * 2],
    "letters": ["abcd", " ab cd", "a  b", "cabba dab", "abcd dcba " * 8],  # of small vocabularies
    "symbols": ["s5 c a f b d e", "s0 s1", "  s3   s2 ", "s1 " * 40],  # the chain world's
}
LETTERS = "abcdefghijkl"
CHAT = ("{{ bos_token }}{% for message in messages %}[{{ message['role'] }}] {{ message['content'] + eos_token }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}")
MESSAGES = [{"role": "user", "content": "Once upon"}, {"role": "assistant", "content": " a time "}, {"role": "user", "content": "caf\u00e9?"}]


def letters_tokenizer(spaces):
    """A BPE tokenizer of 25 ids over a few letters: with U+2581 for spaces as Llama 2's, or over bytes as GPT-2's."""
    mark = "\u2581" if spaces else "\u0120"
    specials = ["<unk>", "<s>", "</s>"] if spaces else ["<|endoftext|>"]
    merges = [[mark, "a"], [mark, "d"], ["a", "b"], ["c", "d"], ["ab", "cd"]]
    vocabulary = {piece: i for i, piece in enumerate(specials + [mark] + list(LETTERS) + ["".join(m) for m in merges])}
    added = [{"id": i, "content": s, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, s in enumerate(specials)]
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": mark}
    back = {"type": "Replace", "pattern": {"String": mark}, "content": " "}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": mark}, replace]} if spaces else None,
            "pre_tokenizer": None if spaces else level, "post_processor": template if spaces else level,
            "decoder": {"type": "Sequence", "decoders": [back, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
            if spaces else level,
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>" if spaces else None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": spaces, "byte_fallback": False, "vocab": vocabulary, "merges": merges}}


# ---- making

SIZES = dict(hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=256)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}

# name: (class, configuration beside the sizes, tokenizer, dtype, largest shard)
SAVED = {
    "Llama, 4 heads on 2, untied": ("Llama", dict(num_key_value_heads=2), "llama2", torch.float32, None),
    "Llama, all heads, tied, f16": ("Llama", dict(num_key_value_heads=4, tie_word_embeddings=True), "smollm2", torch.float16, None),
    "Llama 3, rope_parameters llama3, tied": ("Llama", dict(num_key_value_heads=1, tie_word_embeddings=True, rope_parameters=LLAMA3),
                                              "llama3", torch.bfloat16, None),
    "Llama, linear, sharded": ("Llama", dict(num_key_value_heads=2, rope_parameters={
        "rope_type": "linear", "rope_theta": 10000.0, "factor": 2.5}), "llama2", torch.float32, "60KB"),
    "Mistral, window of 9": ("Mistral", dict(num_key_value_heads=2, sliding_window=9, head_dim=16), "mistral", torch.bfloat16, None),
    "Mistral, no window, tied": ("Mistral", dict(num_key_value_heads=2, sliding_window=None, tie_word_embeddings=True), "tekken",
                                 torch.float32, None),
    "Qwen2, tied": ("Qwen2", dict(num_key_value_heads=2, tie_word_embeddings=True), "qwen2", torch.float32, None),
    "Qwen2.5, untied, window in every layer": ("Qwen2", dict(num_key_value_heads=2, use_sliding_window=True, sliding_window=9,
                                                            max_window_layers=0), "qwen2", torch.bfloat16, None),
    "Qwen3, heads of 16, tied, sharded": ("Qwen3", dict(num_key_value_heads=2, head_dim=16, tie_word_embeddings=True), "qwen2",
                                          torch.bfloat16, "60KB"),
    "Qwen3, untied": ("Qwen3", dict(num_key_value_heads=4, head_dim=16), "qwen2", torch.float32, None),
}

# what is not computed here, and the word by which it has to be refused
REFUSED = {
    "Llama with yarn": ("Llama", dict(rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
                                                       "original_max_position_embeddings": 64}), "yarn"),
    "Llama with dynamic rope": ("Llama", dict(rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}), "dynamic"),
    "Llama with biases of attention": ("Llama", dict(attention_bias=True), "attention_bias"),
    "Llama with biases of mlp": ("Llama", dict(mlp_bias=True), "mlp_bias"),
    "Llama with GELU": ("Llama", dict(hidden_act="gelu"), "hidden_act"),
    "Llama with half its dimensions turned": ("Llama", dict(rope_parameters={
        "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}), "partial_rotary_factor"),
    "Qwen2 with a window in some layers": ("Qwen2", dict(use_sliding_window=True, sliding_window=9, max_window_layers=1), "layer_types"),
    "Qwen3 with biases of attention": ("Qwen3", dict(attention_bias=True, head_dim=16), "attention_bias"),
    "Mixtral": ("Mixtral", dict(num_local_experts=2), "mixture of experts"),
    "Gemma": ("Gemma", dict(head_dim=16), "gemma"),
    "SmolLM3": ("SmolLM3", dict(pad_token_id=0), "smollm3"),
}


def random_model(name, configuration, vocabulary, dtype):
    config = getattr(transformers, name + "Config")(**{**SIZES, "num_key_value_heads": 4, "tie_word_embeddings": False, **configuration,
                                                       "vocab_size": vocabulary})
    config.bos_token_id = config.eos_token_id = config.pad_token_id = None
    model = getattr(transformers, name + "ForCausalLM")(config)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, 1.5 * parameter.shape[-1] ** -0.5)
            else:
                parameter.normal_(1 if "norm" in key else 0, 0.3)
    return model.to(dtype)


def greedily(model, start):
    ids = torch.tensor([start])
    return model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=GREEDY,
                          pad_token_id=0)[0, len(start):].tolist()


def make(folder, root, *ours):
    os.makedirs(folder, exist_ok=True)
    golden = os.path.join(root, "engine/src/test/resources/golden")
    plan = []
    for name in sorted(os.listdir(f"{golden}/families")):
        source = f"{folder}/golden {name}"
        shutil.copytree(f"{golden}/families/{name}", source)
        os.remove(f"{source}/expected.safetensors")
        with open(f"{source}/tokenizer.json", "w") as out:
            json.dump(letters_tokenizer(name in ("llama2", "tinyllama-linear", "mistral")), out)
        plan.append({"name": f"{name}", "group": "families", "from": source, "type": "F32", "texts": TEXTS["letters"]})
    for seed, (name, (kind, configuration, tokenizer, dtype, shard)) in enumerate(SAVED.items()):
        torch.manual_seed(seed)
        source = f"{folder}/saved {name}"
        fast = PreTrainedTokenizerFast(tokenizer_file=f"{golden}/tokenizers/{tokenizer}.json", bos_token="<bos>", eos_token="<eos>")
        model = random_model(kind, configuration, len(fast) + 3, dtype)
        model.save_pretrained(source, **({"max_shard_size": shard} if shard else {}))
        start = fast(TEXTS["words"][0], split_special_tokens=True).input_ids
        read = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)  # not model.float(), whose buffers were rounded
        model.generation_config.eos_token_id = [fast.eos_token_id, greedily(read, start)[5]]
        model.generation_config.save_pretrained(source)
        fast.chat_template = {"default": CHAT, "tool_use": "{{ tools }}" + CHAT} if seed % 3 == 2 else CHAT
        fast.save_pretrained(source)
        if seed % 3 == 1:  # as before transformers 5: within the settings
            os.remove(f"{source}/chat_template.jinja")
            with open(f"{source}/tokenizer_config.json") as file:
                settings = json.load(file)
            with open(f"{source}/tokenizer_config.json", "w") as out:
                json.dump({**settings, "chat_template": CHAT}, out)
        assert shard is None or os.path.exists(f"{source}/model.safetensors.index.json"), source
        plan.append({"name": name, "group": "saved", "from": source, "type": "F32", "texts": TEXTS["words"]})
    for name, (kind, configuration, word) in REFUSED.items():
        source = f"{folder}/saved {name}"
        fast = PreTrainedTokenizerFast(tokenizer_file=f"{golden}/tokenizers/llama3.json", bos_token="<bos>", eos_token="<eos>")
        random_model(kind, configuration, len(fast), torch.float32).save_pretrained(source)
        fast.save_pretrained(source)
        plan.append({"name": name, "group": "refused", "from": source, "word": word, "texts": TEXTS["words"]})
    for name, kind, dtype, source in zip(*[iter(ours)] * 4):
        model = {"name": name, "group": "ours", "texts": TEXTS[kind]}
        plan.append({**model, "from": source, "type": dtype} if source else model)
    with open(f"{folder}/plan.json", "w") as out:
        json.dump({"models": plan}, out, indent=1)


# ---- comparing

def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].double()


def check(folder, model):
    """(what differs, what was compared)"""
    wrong = []
    with open(f"{folder}/{model['name']}.json") as file:
        ours = json.load(file)
    if model["group"] == "refused":
        message = ours.get("refused", "it was imported")
        if model["word"] not in message:
            wrong.append(f"expected a refusal that names {model['word']}: {message}")
        return wrong, {"message": message.split(".json: ")[-1]}
    if "refused" in ours:
        return ["refused: " + ours["refused"]], {}
    path = f"{folder}/{model['name']}"

    def expect(what, theirs, mine):
        if theirs != mine:
            wrong.append(f"{what}: transformers has {theirs}, we have {mine}")

    # loading
    config = AutoConfig.from_pretrained(path)
    with open(f"{path}/config.json") as file:
        expect("dtype", str(config.dtype), "torch." + json.load(file)["torch_dtype"])
    as_stored = AutoModelForCausalLM.from_pretrained(path)
    expect("type of the weights", {str(p.dtype) for p in as_stored.parameters()}, {str(config.dtype)})
    theirs, info = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, output_loading_info=True)
    theirs.eval()
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        expect(kind, list(info[kind]), [])
    tied = theirs.get_input_embeddings().weight.data_ptr() == theirs.get_output_embeddings().weight.data_ptr()
    expect("tied", tied, config.tie_word_embeddings)
    generation = GenerationConfig.from_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    ends = ours["ends"] if len(ours["ends"]) > 1 else ours["ends"][0]
    for what, token, of_tokenizer in (("bos", ours["bos"], ours["bos"]), ("eos", ends, ours["turnEnd"])):
        expect(f"{what} of the configuration", getattr(config, f"{what}_token_id"), token)
        expect(f"{what} of the generation", getattr(generation, f"{what}_token_id"), token)
        expect(f"{what} of the tokenizer", getattr(tokenizer, f"{what}_token_id"), of_tokenizer)

    # chat
    templates = tokenizer.chat_template or {}
    if model["group"] == "saved":
        before = AutoTokenizer.from_pretrained(model["from"])
        expect("chat template", tokenizer.chat_template, before.chat_template)
        for tokenize in (False, True):
            made = [t.apply_chat_template(MESSAGES, tokenize=tokenize, add_generation_prompt=True) for t in (tokenizer, before)]
            expect("messages", str(made[1]), str(made[0]))

    # ids
    for name, token in ours["controls"].items():
        expect(f"id of {name}", tokenizer.convert_tokens_to_ids(name), token)
        expect(f"ids of {name}", tokenizer(name, add_special_tokens=False).input_ids, [token])
        expect(f"text of {name}", tokenizer.decode([token], skip_special_tokens=True), "")
    largest, source = 0.0, 0.0
    original = AutoModelForCausalLM.from_pretrained(model["from"], dtype=torch.float32).eval() if model.get("type") == "F32" else None
    positions = 0
    for text in ours["texts"]:
        shown = repr(text["text"])
        expect(f"ids of {shown}", tokenizer(text["text"], split_special_tokens=True).input_ids, text["opened"])
        bare = tokenizer(text["text"], add_special_tokens=False, split_special_tokens=True).input_ids
        expect(f"bare ids of {shown}", bare, text["encoded"])
        expect(f"text of the ids of {shown}", tokenizer.decode(text["encoded"]), text["decoded"])

        # logits
        mine = torch.tensor(text["logits"], dtype=torch.float64)
        y = logits(theirs, text["opened"])
        positions += len(y)
        expect(f"shape of the logits of {shown}", list(y.shape), list(mine.shape))
        largest = max(largest, (y - mine).abs().max().item())
        if original:
            kept = ours["kept"]
            source = max(source, (logits(original, text["opened"])[:, :kept] - mine[:, :kept]).abs().max().item())
    for what, difference in (("logits", largest), ("logits of the source", source)):
        if not difference <= BOUND:
            wrong.append(f"{what}: {difference} apart, more than {BOUND}")

    # greedy
    start = ours["texts"][0]["opened"]
    expect("greedy continuation", greedily(theirs, start), ours["greedy"])
    return wrong, {"class": type(theirs).__name__, "type": str(config.dtype).removeprefix("torch."), "texts": len(ours["texts"]),
                   "positions": positions, "ids": config.vocab_size, "controls": len(ours["controls"]), "logits": largest,
                   "source": source if original else None, "greedy": len(ours["greedy"]), "ends": len(ours["ends"]),
                   "templates": 1 if isinstance(templates, str) else len(templates)}


def report(folder):
    failed = 0
    rows = {"ours": [], "families": [], "saved": [], "refused": []}
    with open(f"{folder}/plan.json") as file:
        plan = json.load(file)["models"]
    for model in plan:
        try:
            wrong, seen = check(folder, model)
        except Exception as e:  # what transformers throws is a finding
            wrong, seen = [f"{type(e).__name__}: {e}"], {}
        for line in wrong:
            failed += 1
            print(f"{model['name']}: {line}", file=sys.stderr)
        verdict = "; ".join(wrong).replace("|", "\\|").replace("\n", " ") if wrong else "agrees"
        if model["group"] == "refused":
            rows["refused"].append(f"| {model['name']} | {seen.get('message', '')} | {'refused' if not wrong else verdict} |")
        elif seen:
            rows[model["group"]].append(
                f"| {model['name']} | {seen['class']} | {seen['type']} | {seen['ids']} | {seen['texts']}, {seen['positions']} positions "
                f"| {seen['controls']} | {seen['ends']} | {seen['templates']} | {seen['logits']:.1e} | {'' if seen['source'] is None else format(seen['source'], '.1e')} "
                f"| {seen['greedy']} | {verdict} |")
        else:
            rows[model["group"]].append(f"| {model['name']} | | | | | | | | | | | {verdict} |")
    head = ("| | read as | type | ids | texts | control tokens | end tokens | chat templates | logits, largest difference | of the imported folder | greedy ids | |\n"
            "|---|---|---|---|---|---|---|---|---|---|---|---|")
    print(f"transformers {transformers.__version__}, PyTorch {torch.__version__}, tokenizers {__import__('tokenizers').__version__}, "
          f"Python {sys.version.split()[0]}.\n")
    for title, group in (("Our own models, exported", "ours"), ("The families of `engine/src/test`, imported and exported", "families"),
                         ("Saved by transformers (`save_pretrained`), imported and exported", "saved")):
        print(f"## {title}\n\n{head}\n" + "\n".join(rows[group]) + "\n")
    print("## Saved by transformers and refused by name\n\n| | what `import` says | |\n|---|---|---|\n" + "\n".join(rows["refused"]))
    return 1 if failed else 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    if sys.argv[1] == "make":
        make(*sys.argv[2:])
    else:
        sys.exit(report(sys.argv[2]))

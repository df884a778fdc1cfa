package subtext.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPOutputStream;
import subtext.em.EmRun;
import subtext.em.EmSettings;
import subtext.em.TrainRun;
import subtext.io.Safetensors;
import subtext.run.RunConfig;
import subtext.run.SelfDigest;

/** What {@code mistakes.tsv} speaks of by the name @: a run, a model, shards, and what becomes of them by damage or ill will. */
final class Materials {
    static final RunConfig TINY = RunConfig.preset("smoke")
            .with("device.backend", "cpu")
            .with("training.steps", "2")
            .with("em.iterations", "1")
            .with("baselines", "[]");

    private final Path at;

    private Materials(Path at) {
        this.at = at;
    }

    static void make(Path folder) throws IOException {
        Materials m = new Materials(folder);
        m.texts();
        m.runs();
        m.models();
        m.tokenizers();
        m.shards();
    }

    private Path write(String name, String text) throws IOException {
        Path file = at.resolve(name);
        Files.createDirectories(file.getParent());
        return Files.writeString(file, text);
    }

    private Path write(String name, byte[] bytes) throws IOException {
        Path file = at.resolve(name);
        Files.createDirectories(file.getParent());
        return Files.write(file, bytes);
    }

    /** A file of that length that takes no room. */
    private void sparse(String name, long bytes) throws IOException {
        try (FileChannel channel =
                FileChannel.open(at.resolve(name), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            channel.write(ByteBuffer.wrap(new byte[1]), bytes - 1);
        }
    }

    private void pipe(String name) throws IOException {
        try {
            assertThat(new ProcessBuilder("mkfifo", at.resolve(name).toString())
                            .start()
                            .waitFor())
                    .isZero();
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    private void texts() throws IOException {
        write("precious", "precious");
        write("empty.yaml", "");
        write("misspelt.yaml", "em:\n  iterations: 2\n  smaples: 4\n");
        write("broken.yaml", "em: [1\n");
        StringBuilder bomb = new StringBuilder("a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
        for (char c = 'b'; c < 'k'; c++) {
            bomb.append("%c: &%c [%s]\n".formatted(c, c, ("*" + (char) (c - 1) + ", ").repeat(9)));
        }
        write("bomb.yaml", bomb.toString());
        write("deep.yaml", "[".repeat(400_000));
        write("deepmap.yaml", "em: " + "{a: ".repeat(50_000));
        write("recursive.yaml", "em: &a\n  samples: *a\n");
        write("tag.yaml", "em: !!javax.script.ScriptEngineManager [ !!java.net.URL [\"http://127.0.0.1/\"] ]\n");
        write("twice.yaml", "em:\n  samples: 2\n  samples: 3\n");
        write("list.yaml", "- em\n- samples\n");
        write("listed.yaml", "em:\n  samples: [1, 2]\n");
        write("scalar.yaml", "em\n");
        write("flat.yaml", "em: 3\n");
        write("word.yaml", "em:\n  samples: four\n");
        write("share.yaml", "em:\n  samples: 4.5\n");
        write("nan.yaml", "training:\n  learningRate: .nan\n");
        write("infinite.yaml", "training:\n  learningRate: .inf\n");
        write("numbers.json", "{\"training\": {\"steps\": 1e999999999}}");
        write("digits.json", "{\"training\": {\"steps\": " + "9".repeat(200_000) + "}}");
        write("keys.yaml", "? {a: b}\n: 1\n");
        write("null.yaml", "em:\n  samples: null\n");
        write("settings.toml", "[em]\nsamples = 4\n");
        write("latin.yaml", "em: {selection: \"\u00e9\"}".getBytes(StandardCharsets.ISO_8859_1));
        write("nul.yaml", "em: {selection: \"a\u0000b\"}");
        sparse("large.yaml", 3L << 30);
        pipe("pipe.yaml");

        write("empty.jsonl", "");
        write("a.txt", "A text of some words.\n\nAnother text of other words.\n");
        write("broken.jsonl", "{\"question\": \"1 + 1?\", \"answer\n");
        write("deep.jsonl", "{\"question\": " + "[".repeat(100_000) + "\n");
        write("array.jsonl", "[1, 2, 3]\n");
        write("number.jsonl", "{\"question\": 1e999999999, \"answer\": \"x #### 1\"}\n");
        write("fields.jsonl", "{\"prompt\": \"1 + 1?\"}\n");
        write("prompts.jsonl", "{\"id\": 1, \"prompt\": \"s1\"}\n");
        write("prompttype.jsonl", "{\"prompt\": \"s1\"}\n\n{\"prompt\": 5}\n");
        write("promptid.jsonl", "{\"id\": [1], \"prompt\": \"s1\"}\n");
        write("prompttwo.jsonl", "{\"prompt\": \"s1\"} {\"prompt\": \"s2\"}\n");
        write("prompttwice.jsonl", "{\"prompt\": \"s1\", \"prompt\": \"s2\"}\n");
        write("promptlong.jsonl", "{\"prompt\": \"" + "s1 ".repeat(100) + "\"}\n");
        write("promptlatin.jsonl", "{\"prompt\": \"\u00e9\"}\n".getBytes(StandardCharsets.ISO_8859_1));
        write("textempty.jsonl", "{\"text\": \"s1\"}\n{\"prompt\": \"s1\", \"text\": \"\"}\n");
        String taught = "{\"chunks\": [{\"suffix\": \"One.\", \"latent\": \"First.\"}]}\n";
        write("taught.jsonl", taught);
        write("taughtnone.jsonl", taught.replace("latent", "idea"));
        write("taughttext.jsonl", taught + "{\"text\": \"One.\", \"thought\": \"First.\"}\n");
        write("taughtobject.jsonl", taught + "{\"chunks\": {\"suffix\": \"One.\"}}\n");
        write("taughtempty.jsonl", taught + "{\"chunks\": []}\n");
        write("taughtnumber.jsonl", taught + "{\"chunks\": [{\"suffix\": \"One.\", \"latent\": 1e999999999}]}\n");
        write("taughtboth.jsonl", taught + "{\"chunks\": [{\"suffix\": \"One.\", \"text\": \"Two.\"}]}\n");
        write("taughtbare.jsonl", taught + "{\"chunks\": [{\"suffix\": \"One.\"}, {\"latent\": \"\u001b[31m\"}]}\n");
        write("taughtmany.jsonl", taught + "{\"chunks\": [" + "{},".repeat(3_000_000) + "{}]}\n");
        write("latin.txt", "caf\u00e9\n".getBytes(StandardCharsets.ISO_8859_1));
        write("corpus.csv", "a,b\n1,2\n");
        write("fake.parquet", "PAR1 and no more PAR1");
        write("cut.jsonl.gz", Arrays.copyOf(zeros(1 << 20), 100));
        write("bomb.jsonl.gz", zeros(256 << 20));
        write("not.jsonl.gz", "this is no gzip");
        write("not.jsonl.zst", "this is no zstd");
        Files.createDirectories(at.resolve("none"));
        Files.createDirectories(at.resolve("loop"));
        Files.createSymbolicLink(at.resolve("loop/loop"), at.resolve("loop"));
        Files.createSymbolicLink(at.resolve("dangling.jsonl"), at.resolve("nowhere.jsonl"));
        pipe("pipe.jsonl");
        write("rates.json", "{\"matmul\": \"fast\"}");
        write("ratesnan.json", "{\"flops\": -1}");
    }

    /** Many zeros, packed by gzip. */
    private static byte[] zeros(int count) throws IOException {
        var bytes = new java.io.ByteArrayOutputStream();
        try (OutputStream out = new GZIPOutputStream(bytes)) {
            byte[] block = new byte[1 << 16];
            for (int i = 0; i < count; i += block.length) {
                out.write(block);
            }
        }
        return bytes.toByteArray();
    }

    private void runs() throws IOException {
        Path run = at.resolve("run");
        EmRun.start(new EmSettings(run, false, false, TINY), event -> {});
        TrainRun.start(new EmSettings(at.resolve("train"), false, false, TINY), TrainRun.On.TEXT, event -> {});
        for (String name : new String[] {"locked", "edited", "damaged", "cut", "linked", "deep"}) {
            copy(run, at.resolve(name));
        }
        Path edited = at.resolve("edited/run.json");
        Files.writeString(edited, Files.readString(edited).replace("\"samples\" : 4", "\"samples\" : 5"));
        write("cut/run.json", Arrays.copyOf(Files.readAllBytes(run.resolve("run.json")), 100));
        write("deep/run.json", "{\"sha256\": " + "[".repeat(100_000));
        Path weights = at.resolve("damaged/seeds/0/iterations/01/model/model.safetensors");
        byte[] bytes = Files.readAllBytes(weights);
        bytes[bytes.length / 2] ^= 1;
        Files.write(weights, bytes);
        write("notrun/run.json", "{}");
        Files.createDirectories(at.resolve("folderrun/run.json"));
        write("report.json", "{\"seeds\": " + "[".repeat(100_000));
    }

    private static void copy(Path from, Path to) throws IOException {
        Files.walkFileTree(from, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult preVisitDirectory(Path folder, BasicFileAttributes attributes) throws IOException {
                Files.createDirectories(to.resolve(from.relativize(folder)));
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                Files.copy(file, to.resolve(from.relativize(file)));
                return FileVisitResult.CONTINUE;
            }
        });
    }

    /** The model of the run under another name. */
    private Path model(String name) throws IOException {
        Path model = at.resolve(name);
        copy(at.resolve("run/seeds/0/iterations/01/model"), model);
        return model;
    }

    private void config(String name, String pattern, String replacement) throws IOException {
        Path file = model(name).resolve("config.json");
        String text = Files.readString(file);
        String changed = text.replaceFirst(pattern, replacement);
        assertThat(changed).as(name).isNotEqualTo(text);
        Files.writeString(file, changed);
    }

    private void models() throws IOException {
        model("model");
        config("huge", "\"hidden_size\" : \\d+", "\"hidden_size\" : 2000000000");
        config("negative", "\"num_hidden_layers\" : \\d+", "\"num_hidden_layers\" : -1");
        config("layers", "\"num_hidden_layers\" : \\d+", "\"num_hidden_layers\" : 2000000000");
        config("overflow", "\"vocab_size\" : \\d+", "\"vocab_size\" : 99999999999999999999");
        config("share", "\"hidden_size\" : \\d+", "\"hidden_size\" : 32.5");
        config("text", "\"hidden_size\" : \\d+", "\"hidden_size\" : \"thirty-two\"");
        config("eps", "\"rms_norm_eps\" : [^,\\s]+", "\"rms_norm_eps\" : 1e999999999");
        config("theta", "\"rope_theta\" : [^,\\s]+", "\"rope_theta\" : -1");
        config("twice", "\\{", "{\"hidden_size\" : 64, ");
        config("family", "\"model_type\" : \"llama\"", "\"model_type\" : \"gpt_neox\"");
        write(model("configdeep").resolve("config.json").toString(), "{\"a\": " + "[".repeat(100_000));
        write(model("configlist").resolve("config.json").toString(), "[]");
        Files.delete(model("configlarge").resolve("config.json"));
        sparse("configlarge/config.json", 3L << 30);
        Files.delete(model("configpipe").resolve("config.json"));
        pipe("configpipe/config.json");
        conversations();

        weights("short", bytes -> Arrays.copyOf(bytes, 7));
        weights("cutweights", bytes -> Arrays.copyOf(bytes, bytes.length / 2));
        weights("headerlong", bytes -> {
            ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(0, Long.MAX_VALUE);
            return bytes;
        });
        weights("headernegative", bytes -> {
            ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(0, -8);
            return bytes;
        });
        weights("headerdeep", bytes -> header("{\"a\":" + "[".repeat(1 << 20)));
        weights(
                "shapehuge",
                bytes ->
                        header("{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,8],\"data_offsets\":[0,4]}}"));
        weights("nan", bytes -> {
            ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putFloat(bytes.length - 8, Float.NaN);
            return bytes;
        });

        index("escapes", "../precious.safetensors");
        index("absolute", at.resolve("model/model.safetensors").toString());
        index("hidden", ".model.safetensors");
        index("missing", "model-00001-of-00001.safetensors");
        Path linked = index("linkedshard", "other.safetensors");
        Files.createSymbolicLink(linked.resolve("other.safetensors"), at.resolve("model/model.safetensors"));
        Files.copy(at.resolve("model/model.safetensors"), at.resolve("precious.safetensors"));
    }

    /** End tokens and chat templates. */
    private void conversations() throws IOException {
        replace("ends", "generation_config.json", "{\"eos_token_id\": \"<eos>\"}");
        replace("endsmany", "generation_config.json", "{\"eos_token_id\": [" + "7,".repeat(99_999) + "7]}");
        Files.delete(model("endslarge").resolve("generation_config.json"));
        sparse("endslarge/generation_config.json", 3L << 30);
        Files.delete(model("chatlarge").resolve("tokenizer_config.json"));
        sparse("chatlarge/tokenizer_config.json", 3L << 30);
        replace("chatdeep", "tokenizer_config.json", "{\"chat_template\": " + "[".repeat(4 << 20));
        // as many objects as fit in the bytes that it may have
        replace("chatwide", "tokenizer_config.json", "{\"chat_template\": [" + "{},".repeat(2_790_000) + "{}]}");
        replace(
                "chatname",
                "tokenizer_config.json",
                "{\"chat_template\": [{\"name\": \"\\u001b[2J\", \"template\": \"\"}]}");
        model("chatpipe");
        pipe("chatpipe/chat_template.jinja");
        Files.write(
                model("chatlatin").resolve("chat_template.jinja"), "caf\u00e9".getBytes(StandardCharsets.ISO_8859_1));
    }

    private void replace(String model, String name, String content) throws IOException {
        Files.writeString(model(model).resolve(name), content);
    }

    @FunctionalInterface
    private interface Change {
        byte[] of(byte[] bytes);
    }

    private void weights(String name, Change change) throws IOException {
        Path file = model(name).resolve("model.safetensors");
        Files.write(file, change.of(Files.readAllBytes(file)));
    }

    private static byte[] header(String json) {
        byte[] text = json.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(8 + text.length + 64)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(text.length)
                .put(text)
                .array();
    }

    /** A model whose index says that all its tensors lie in that file. */
    private Path index(String name, String shard) throws IOException {
        Path model = model(name);
        StringBuilder map = new StringBuilder("{\"weight_map\": {");
        try (Safetensors file = Safetensors.open(model.resolve("model.safetensors"))) {
            String comma = "";
            for (String tensor : file.tensors().keySet()) {
                map.append("%s\"%s\": \"%s\"".formatted(comma, tensor, shard));
                comma = ", ";
            }
        }
        Files.writeString(model.resolve("model.safetensors.index.json"), map.append("}}"));
        return model;
    }

    private void tokenizers() throws IOException {
        Path whole = at.resolve("model/tokenizer.json");
        String text = Files.readString(whole);
        for (Map.Entry<String, String> each : Map.of(
                        "tokenizercut",
                        text.substring(0, text.length() / 2),
                        "tokenizerlist",
                        "[]",
                        "tokenizerdeep",
                        "{\"model\": " + "[".repeat(100_000),
                        "tokenizerkind",
                        "{\"model\": {\"type\": \"Unigram\", \"vocab\": []}}",
                        "tokenizerids",
                        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 2147483647}, \"merges\": []}}",
                        "tokenizerword",
                        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": \"b\"}, \"merges\": []}}")
                .entrySet()) {
            Files.writeString(model(each.getKey()).resolve("tokenizer.json"), each.getValue());
        }
        Files.delete(model("tokenizernone").resolve("tokenizer.json"));
        Files.delete(model("tokenizerlarge").resolve("tokenizer.json"));
        sparse("tokenizerlarge/tokenizer.json", 3L << 30);
        write(
                "regex.json",
                "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []},"
                        + " \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a+)+$\"}, \"behavior\": \"Isolated\"}}");
    }

    private void shards() throws IOException {
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 60; i++) {
            lines.append("{\"text\": \"Document %d says that %d and %d are %d. It ends here.\"}\n"
                    .formatted(i, i, i + 1, 2 * i + 1));
        }
        write("good.jsonl", lines.toString());
        var sink = new java.io.PrintWriter(OutputStream.nullOutputStream());
        var err = new java.io.StringWriter();
        int code = Main.run(
                sink,
                new java.io.PrintWriter(err, true),
                "prepare",
                at.resolve("good.jsonl").toString(),
                at.resolve("shards").toString(),
                "--duplicates",
                "exact",
                "--held-out",
                "0.2",
                "--set",
                "corpus.vocabulary=280");
        assertThat(code).as(err.toString()).isZero();
        copy(at.resolve("shards"), at.resolve("shardsedited"));
        copy(at.resolve("shards"), at.resolve("shardscut"));
        Path prepared = at.resolve("shardsedited/prepared.json");
        Files.writeString(prepared, Files.readString(prepared).replaceFirst("\\d", "7"));
        copy(at.resolve("shards"), at.resolve("shardsescape"));
        String listed = Files.readString(at.resolve("shards/prepared.json"))
                .replaceFirst("[0-9a-f]{64}", SelfDigest.EMPTY)
                .replace("train/shard-00000.tok", "../shards/train/shard-00000.tok");
        write("shardsescape/prepared.json", SelfDigest.seal(listed)); // by somebody who knows how
        try (var files = Files.walk(at.resolve("shardscut"))) {
            List<Path> shards = files.filter(file -> Files.isRegularFile(file)
                            && !file.getFileName().toString().endsWith(".json")
                            && !file.getFileName().toString().equals("DONE"))
                    .toList();
            for (Path shard : shards) {
                Files.write(shard, Arrays.copyOf(Files.readAllBytes(shard), (int) Files.size(shard) / 2));
            }
        }
    }
}

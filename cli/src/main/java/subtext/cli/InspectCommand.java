package subtext.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import subtext.io.Conversation;
import subtext.io.ModelSummary;
import subtext.model.LlamaConfig;
import subtext.model.RopeScaling;
import subtext.text.ControlTokens;
import subtext.text.Tokens;
import tools.jackson.databind.json.JsonMapper;

/** Says what a checkpoint is, without opening it on a device. */
@Command(
        name = "inspect",
        description = "Says what a checkpoint is: sizes, types, tokenizer, digests, and what memory and time it takes.",
        mixinStandardHelpOptions = true,
        footerHeading = "%nExamples:%n",
        footer = {"  subtext inspect models/tinyllama", "  subtext inspect models/tinyllama --json"})
final class InspectCommand implements Callable<Integer> {
    @Spec
    CommandSpec spec;

    @Parameters(paramLabel = "DIR", description = "Folder of a model in Hugging Face layout.")
    Path folder;

    @Option(names = "--json", description = "Print one JSON object.")
    boolean json;

    @Override
    public Integer call() throws IOException {
        ModelSummary s = ModelSummary.of(folder);
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            out.println(JsonMapper.shared().writeValueAsString(tree(s)));
            return ExitCode.OK.code();
        }
        LlamaConfig c = s.config();
        out.printf("%s: %s, %s parameters%n", folder, c.family().architecture(), count(c.parameters()));
        out.printf(
                "  %d layers of width %d, %d heads of %d (%d for keys and values), hidden %d%n",
                c.layers(), c.width(), c.heads(), c.headDim(), c.kvHeads(), c.hidden());
        out.printf(
                "  %d ids (%s), context %d%s, rotary base %s%s%n",
                c.vocabulary(),
                c.tied() ? "tied output" : "output of its own",
                c.context(),
                c.window() > 0 ? ", window " + c.window() : "",
                number(c.ropeTheta()),
                c.ropeScaling() instanceof RopeScaling.None ? "" : ", " + c.ropeScaling());
        out.printf("  tokenizer: %s, %d ids, %s%n", s.tokenizerKind(), s.tokenizerIds(), controls(s.controls()));
        out.printf("  %s%n", conversation(s.conversation()));
        out.printf(
                "  tensors: %s%n",
                s.tensors().entrySet().stream()
                        .map(e -> e.getValue() + " in " + e.getKey())
                        .collect(Collectors.joining(", ")));
        for (ModelSummary.FileDigest file : s.files()) {
            out.printf("  %-40s %12s  sha256 %s%n", file.name(), size(file.bytes()), file.sha256());
        }
        out.printf(
                "  memory to generate: %s in f32, %s in bf16, and %s (%s) of cache for each sequence of %d; to train with AdamW: %s,"
                        + " activations beside%n",
                size(s.weightBytes(4)),
                size(s.weightBytes(2)),
                size(s.cacheBytes(4)),
                size(s.cacheBytes(2)),
                c.context(),
                size(4 * s.weightBytes(4)));
        out.printf("  read at %s/s: loading takes about %.1f s%n", size((long) s.bytesPerSecond()), s.loadSeconds());
        return ExitCode.OK.code();
    }

    private static Map<String, Object> tree(ModelSummary s) {
        LlamaConfig c = s.config();
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("architecture", c.family().architecture());
        tree.put("parameters", c.parameters());
        tree.put("layers", c.layers());
        tree.put("width", c.width());
        tree.put("heads", c.heads());
        tree.put("kvHeads", c.kvHeads());
        tree.put("headDim", c.headDim());
        tree.put("hidden", c.hidden());
        tree.put("vocabulary", c.vocabulary());
        tree.put("context", c.context());
        tree.put("window", c.window());
        tree.put("tied", c.tied());
        tree.put("ropeTheta", c.ropeTheta());
        tree.put("ropeScaling", c.ropeScaling().toString());
        tree.put("tokenizer", s.tokenizerKind());
        tree.put("tokenizerIds", s.tokenizerIds());
        tree.put("latentControls", s.controls().complete());
        tree.put("endTokens", s.conversation().endTokens().toArray());
        tree.put("chatTemplates", s.conversation().templates().keySet());
        tree.put("tensors", s.tensors());
        tree.put("files", s.files());
        tree.put("weightBytesF32", s.weightBytes(4));
        tree.put("weightBytesBf16", s.weightBytes(2));
        tree.put("cacheBytesPerSequenceF32", s.cacheBytes(4));
        tree.put("loadSeconds", s.loadSeconds());
        return tree;
    }

    private static String controls(ControlTokens controls) {
        if (controls.complete()) {
            return "all control tokens";
        }
        int[] ids = controls.ids();
        StringBuilder missing = new StringBuilder();
        for (int i = 0; i < ids.length; i++) {
            missing.append(ids[i] == ControlTokens.NONE ? " " + ControlTokens.NAMES.get(i) : "");
        }
        return "without" + missing + " (subtext import adds them)";
    }

    private static String conversation(Conversation conversation) {
        Tokens ends = conversation.endTokens();
        String ids = Arrays.stream(ends.toArray()).mapToObj(Integer::toString).collect(Collectors.joining(", "));
        return (ends.isEmpty() ? "no end token" : "ends at " + ids)
                + (conversation.templates().isEmpty()
                        ? ", no chat template"
                        : ", chat templates: "
                                + String.join(", ", conversation.templates().keySet()));
    }

    /** 260.0 K, 1.1 G. */
    static String count(long n) {
        return scaled(n, 1000, "", " K", " M", " G", " T");
    }

    private static String size(long bytes) {
        return scaled(bytes, 1024, " B", " KiB", " MiB", " GiB", " TiB");
    }

    private static String scaled(long n, int base, String... units) {
        double value = n;
        int unit = 0;
        while (value >= base && unit < units.length - 1) {
            value /= base;
            unit++;
        }
        return unit == 0 ? n + units[0] : String.format(Locale.ROOT, "%.1f%s", value, units[unit]);
    }

    private static String number(double value) {
        return value == Math.rint(value) && value < 1e15 ? Long.toString((long) value) : Double.toString(value);
    }
}

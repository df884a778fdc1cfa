package subtext.cli;

import java.io.BufferedWriter;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.Writer;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import picocli.CommandLine.Option;
import subtext.bindings.EngineException;
import subtext.io.AtomicFiles;
import tools.jackson.databind.json.JsonMapper;

/** Where results go that are a line of JSON each. */
final class ResultFlags {
    @Option(
            names = "--out",
            paramLabel = "FILE",
            description =
                    "With a file of JSON lines: write the results there, the whole file or nothing. Default: print them as they come.")
    Path out;

    /** Takes the results one by one. */
    @FunctionalInterface
    interface Sink {
        void put(Requests.Request request, Map<String, Object> result) throws IOException;
    }

    /** Computes and hands over all results. */
    @FunctionalInterface
    interface Body {
        void run(Sink sink) throws IOException;
    }

    /** @param many whether there is a file of JSON lines */
    void check(boolean many) {
        if (out != null && !many) {
            throw new EngineException.InvalidConfig(
                    "--out: goes with --file and JSON lines, such as --file prompts.jsonl");
        }
        if (out != null && Files.isDirectory(out)) {
            throw new EngineException.InvalidConfig("--out: " + out + " is a folder; a file is wanted");
        }
    }

    void write(PrintWriter printed, Body body) throws IOException {
        if (out == null) {
            body.run((request, result) -> printed.println(line(request, result)));
            return;
        }
        AtomicFiles.write(out, channel -> {
            Writer writer = new BufferedWriter(Channels.newWriter(channel, StandardCharsets.UTF_8));
            body.run((request, result) -> writer.append(line(request, result)).append('\n'));
            writer.flush();
        });
    }

    private static String line(Requests.Request request, Map<String, Object> result) {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("id", request.id());
        tree.putAll(result);
        return JsonMapper.shared().writeValueAsString(tree);
    }
}
